"""The Python language host: starts the program with its own interpreter, and watches it."""
