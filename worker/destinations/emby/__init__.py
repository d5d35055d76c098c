"""Reports changed files to an Emby server. Experimental."""
