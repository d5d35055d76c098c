"""Turns facts into sentences for a person. No I/O."""
