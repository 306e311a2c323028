"""Users, passwords and signing in."""
