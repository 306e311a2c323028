"""Hours of churn against one engine: `make soak` checks that nothing of it stays behind."""
