"""The demonstration: brings everything up, moves each component that can move under load and back, and proves it."""
