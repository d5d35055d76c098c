"""The long-running process that delivers."""

VERSION = "0.0.0"  # the build writes that of pyproject.toml here
