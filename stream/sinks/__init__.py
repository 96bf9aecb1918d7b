"""Where what the log holds is told to systems of others; nothing rests on it, and nothing here is in the way of the loop."""
