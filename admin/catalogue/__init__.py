"""What experts offer, and how callable they are right now."""
