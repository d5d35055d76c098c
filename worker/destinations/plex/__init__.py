"""Scenes as items of a Plex Media Server."""
