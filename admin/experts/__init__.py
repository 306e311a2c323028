"""Experts: profile, availability, rating."""
