"""Scenes as signed JSON over HTTP."""
