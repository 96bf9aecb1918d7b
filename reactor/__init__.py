"""REACT and REPEAT: decisions about each need, the reactions that carry them out, and what is learned from their outcomes."""
