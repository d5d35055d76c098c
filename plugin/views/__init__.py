"""The modes that serve the page: one call for each view, quick and silent."""
