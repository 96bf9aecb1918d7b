"""REACT and REPEAT: what is decided for each need, how it is carried out, and what its outcome teaches."""
