"""Conversations under load: calls to the language model through the services' own API, and what became of each.

Each answer that began ends whole, comes once, and a conversation stays with who answered it but for a switch.
"""
