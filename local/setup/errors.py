"""What set-up says when it cannot go on."""

from __future__ import annotations


class SetupError(RuntimeError):
    """Something cannot be had on this machine: what, what follows from it, and what to do."""
