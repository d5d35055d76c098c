"""``make bench``: what Stash Courier costs, beside its targets and a peer measured in the same run."""
