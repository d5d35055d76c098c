"""``make bench``: what Stash Courier costs, each figure beside its target and beside a peer measured in the same run."""
