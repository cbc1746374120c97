"""Groat: the credit ledger and monitor for AI applications."""
