"""The fault suite: the plugin's promises under faults, with real processes, files and sockets.

``python -m tests.faults`` runs it. Each module has the rows of one kind of fault. Ordinary behavior is tested
elsewhere.
"""
