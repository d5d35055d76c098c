"""The long-running process that delivers."""

VERSION = "0.0.0"  # of a checkout; the build writes that of pyproject.toml
