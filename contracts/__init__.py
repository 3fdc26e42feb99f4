"""What the infrastructure half and the runtime half share: names, records, tables.

Standard library and pydantic only, so that both `components/` (which runs inside
Pulumi) and `services/` (which runs in pods) may import it.
"""
