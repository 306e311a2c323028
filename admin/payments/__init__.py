"""Money from outside: top-ups through payment providers and their webhooks."""
