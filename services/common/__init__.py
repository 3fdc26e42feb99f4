"""What every service shares: settings from the environment, logs, health, metrics, shutdown."""
