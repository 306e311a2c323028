"""Correspondence: who writes to whom about what, and what the other side may see of it."""
