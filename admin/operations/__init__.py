"""Health, metrics and the machine-readable description of the surface."""
