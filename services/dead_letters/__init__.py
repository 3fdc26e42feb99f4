"""Shows what consumers set aside, and publishes it again: runs once, beside the data, with an adapter's rights."""
