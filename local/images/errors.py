"""What can go wrong while an image is made. Every text says what, what follows, and what to do."""

from __future__ import annotations


class ImageError(Exception):
    """An image cannot be built. The text names the file or source, the consequence and the fix."""


class DefinitionError(ImageError):
    """An image.toml is wrong. Nothing was downloaded or written."""


class SourceMissing(ImageError):
    """A pinned source is no longer where the lock says: superseded on a mirror, or never there."""
