"""What other rooms build on to run the loop: replay and its line protocol, clocks, data directories, service discovery, the fleet in force."""
