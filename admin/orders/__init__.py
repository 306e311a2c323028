"""Orders of live consultations: states, money on hold, and what parties see of them."""
