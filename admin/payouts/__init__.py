"""Earnings to experts' banks: asked for, approved, sent, arrived or returned."""
