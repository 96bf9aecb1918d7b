"""Physics: demand, weather, and devices whose true state is known. Randomness and time are arguments."""
