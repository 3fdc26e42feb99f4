"""The mirror: one Deployment that keeps the backend that does not serve in step."""
