"""Turns facts into sentences for a person. Reads no network."""
