"""A release: its notes from CHANGELOG.md, and whether the tag is the version that it says."""
