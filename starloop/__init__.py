"""The command line, the roles, and the wiring of all rooms into a service."""
