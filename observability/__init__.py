"""What to watch a stack by: alert rules, and a dashboard for Grafana made by dashboard.py."""
