"""An application on a port, until it is stopped."""

from __future__ import annotations

import errno
import ipaddress
import socket

import uvicorn
from fastapi import FastAPI

from petmood.errors import UserError
from petmood.recipes.serve import ServeSettings

#: Connections at once; more get a plain 503 from the server itself.
_CONNECTIONS = 512


def on_this_machine(host: str) -> bool:
    """Whether an address can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listening(settings: ServeSettings) -> socket.socket:
    """An open socket on the settings' address.

    Raises:
        UserError: the port is taken or not allowed, or the address is not this machine's.
    """
    host, port = settings.host, settings.port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # With the protocol named, asyncio sends a body at once; without, it waits 40 ms for the head's receipt.
        opened = socket.socket(family, kind, protocol)
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.bind(address)
            opened.listen(128)
        except OSError:
            opened.close()
            raise
    except OSError as error:
        hint = "give another --port; 0 takes a free one" if error.errno in _PORT else "give an address of this machine"
        raise UserError(f"address {host}:{port} cannot be used: {error.strerror}.", hint=hint) from None
    return opened


_PORT = {errno.EADDRINUSE, errno.EACCES}


def server_of(app: FastAPI) -> uvicorn.Server:
    """A server that answers by an application once its ``run(sockets=[listening(…)])`` is called.

    A signal ends it, or ``should_exit``; requests under way are finished first.
    """
    return uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            limit_concurrency=_CONNECTIONS,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=10,
            ws="none",
        )
    )


def url_of(opened: socket.socket) -> str:
    """Where a browser on this machine finds an open socket."""
    host, port = opened.getsockname()[:2]
    if host in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
        host = "127.0.0.1"
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
