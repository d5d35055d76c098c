"""From a due delivery to its recorded outcome."""
