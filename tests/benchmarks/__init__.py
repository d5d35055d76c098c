"""``make bench``: the costs of Stash Courier against targets, and against peers measured in the same run."""
