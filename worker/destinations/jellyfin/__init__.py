"""Scenes as items of a Jellyfin server."""
