"""A real Stash server, which is not in this repository: what only it can show."""
