"""The reference workload: services that only know the adapters and the contracts."""
