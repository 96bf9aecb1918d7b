"""Who decides in a simulated world: the service itself, reference policies, and an oracle that knows all future use."""
