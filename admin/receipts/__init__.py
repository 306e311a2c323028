"""Receipts: what was paid for, from the ledger, and what happened, from the session's events."""
