"""The `crossover` command: a thin layer over stack config, `pulumi up` and the live route."""
