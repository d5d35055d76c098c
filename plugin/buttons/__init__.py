"""The task buttons and their modes: one module per group of modes."""
