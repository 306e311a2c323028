"""How the REST surface speaks HTTP: routes, bodies, problems, idempotency, limits, OpenAPI."""
