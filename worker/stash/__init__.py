"""Everything that talks to Stash."""
