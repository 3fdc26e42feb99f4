"""Recorded traffic: the same request must have the same answer at every stage. What may differ is named by rules."""
