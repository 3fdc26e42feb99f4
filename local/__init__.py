"""What makes the product run on one machine: set-up, local cluster, images, stand-ins, demo."""
