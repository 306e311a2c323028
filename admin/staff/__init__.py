"""/admin: pages for the platform's staff."""
