"""HTTP for all destinations: policy, deadlines, addresses, and removing secrets from text."""
