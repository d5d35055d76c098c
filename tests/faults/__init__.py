"""The fault suite: every promise of DESIGN.md's "How it is proved", against real processes, files and sockets.

``python -m tests.faults`` runs it; each module holds the rows of one kind of fault. Ordinary behaviour is
tested elsewhere.
"""
