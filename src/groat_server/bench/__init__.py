"""What `groat bench` measures with: callers that keep a ledger or a service busy, on a PostgreSQL of their own."""
