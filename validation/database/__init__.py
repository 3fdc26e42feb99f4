"""Whether two Postgres servers hold the same: their rows, and what is declared about them.

Three answers everywhere: what could not be compared is never counted as the same.
"""
