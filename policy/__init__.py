"""The policy pack: what a stack may not be. It runs in a virtual environment of its own; see docs/policy.md.

rules.py and moves.py decide and need the standard library alone; __main__.py binds them to pulumi-policy.
"""
