"""What users see of their money."""
