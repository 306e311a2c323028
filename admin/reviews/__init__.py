"""Reviews: what customers say of a service and of its expert, and what that does to the rating."""
