"""Negotiation: a customer's request, the experts it goes to, their offers, and the order."""
