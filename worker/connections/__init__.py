"""Connections: what the owner set up, and where that is stored."""
