"""The carrier: one Deployment that keeps the database that does not serve in step, and proves the way back."""
