"""The long-running process that delivers."""

VERSION = "0.1.0"  # of the plugin, as in stash_plugin.yml
