"""Tells an Emby server that a scene's file has changed. Experimental."""
