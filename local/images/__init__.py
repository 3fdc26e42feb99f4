"""The images of the product, made without Docker from package registries: one image.toml an image.

`build(names)` writes OCI archives that any runtime imports; docs/images.md says how and why.
"""

from local.images.builder import BuiltImage, build
from local.images.errors import ImageError

__all__ = ["BuiltImage", "ImageError", "build"]
