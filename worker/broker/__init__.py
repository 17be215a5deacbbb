"""Dramatiq made safe: where messages come from, and how they reach the event loop."""
