"""Groat: the credit ledger and monitor for AI applications."""

__version__ = "0.1.0"
