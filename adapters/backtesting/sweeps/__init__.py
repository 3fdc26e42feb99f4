"""Sweeps: what is run, in which pieces, what comes of it, and where it is kept."""
