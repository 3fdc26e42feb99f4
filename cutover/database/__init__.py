"""The journey of the database: from a hosted Postgres to our own, and back."""
