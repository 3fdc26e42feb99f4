"""`crossover docs`: a deployment page and a user guide, written from a stack as it is."""
