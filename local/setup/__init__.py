"""Finds or makes what the product needs on this machine: system packages, tools, the stack."""
