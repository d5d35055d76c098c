"""What a hook may import: files, locks, and the inbox of queue.db. Written for Python 3.9."""
