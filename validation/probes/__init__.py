"""Probes: whether each service answers at every moment, asked at a fixed pace and judged afterwards."""
