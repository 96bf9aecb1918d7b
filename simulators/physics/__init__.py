"""Physics: demand, weather and devices whose true state is known, each from a generator that is passed in. No clock."""
