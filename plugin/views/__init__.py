"""The modes that the page asks: one call for each view, quick and silent."""
