"""A bank under load: transfers among accounts through the services' own address, and what became of each.

The total never changes, and each transfer that was acknowledged is there exactly once: whatever serves, and however
often it changed meanwhile.
"""
