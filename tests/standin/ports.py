"""Ports on loopback that no other program gets meanwhile."""

from __future__ import annotations

import random
import socket

# Systems give out higher ones by themselves, to programs that ask for any port and to connections.
ASKED_FOR = range(20_000, 32_000)


def reserve(port: int = 0) -> socket.socket:
    """Binds a port, by default any free one, without listening. A server with SO_REUSEADDR can be bound to it too.

    Until the socket is closed the system gives the port to no other program, even while nothing listens there.
    """
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        reserved.bind(("127.0.0.1", port))
    except OSError:
        reserved.close()
        raise
    return reserved


def free_port() -> int:
    """A port for a program that binds it itself, a moment later."""
    while True:
        port = random.choice(ASKED_FOR)
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            pass  # somebody asked for it
