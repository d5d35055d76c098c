"""The task buttons: one module per group of modes."""
