"""The demonstration: brings everything up, moves the event bus to Kafka and back under load, and proves it."""
