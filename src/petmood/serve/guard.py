"""What lies around every request: the key, the safe headers, the count; on plain ASGI, which costs nearly nothing."""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Sequence
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from petmood.errors import UserError
from petmood.serve.counters import Counters
from petmood.serve.refusals import RefusalError
from petmood.serve.replies import refused

_log = logging.getLogger("petmood.serve")

#: Own files only, no script or style in the page's text; pictures and videos that the page itself has made.
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "cross-origin-opener-policy": "same-origin",
}
#: Open without a key: the page itself, its files, and the sign of life; they hold nothing of the model.
_OPEN = {"/", "/healthz", "/docs", "/openapi.json"}
_LEAST_KEY = 16


def read_keys(path: Path) -> tuple[bytes, ...]:
    """The keys of a file, one a line; empty lines and those with # do not count.

    Raises:
        UserError: no such file, no key in it, or one that is too short.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"api-key-file {path} cannot be read: {error}.", hint="give a text file, one key a line"
        ) from None
    keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    hint = "write one made by: python -c 'import secrets; print(secrets.token_urlsafe(32))'"
    if not keys:
        raise UserError(f"api-key-file {path} holds no key; one a line is expected.", hint=hint)
    if short := [number for number, key in enumerate(keys, 1) if len(key) < _LEAST_KEY]:
        raise UserError(f"key {short[0]} of {path} is shorter than {_LEAST_KEY} characters.", hint=hint)
    return tuple(key.encode() for key in keys)


class Guard:
    """Asks for the key where there is one, adds the safe headers to every answer, and counts."""

    def __init__(self, app: ASGIApp, *, keys: Sequence[bytes], counters: Counters) -> None:
        """Stand around ``app``."""
        self._app, self._keys, self._counters = app, tuple(keys), counters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 0

        async def with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        app = self._app if self._admitted(scope) else refused(RefusalError("no_key"), "en")
        try:
            await app(scope, receive, with_headers)
        except Exception as error:  # noqa: BLE001 - the last door: what nobody foresaw is written down here, not sent
            _log.error("a request failed", exc_info=error)
            if not status:
                self._counters.refused.labels("internal").inc()
                await refused(RefusalError("internal"), "en")(scope, receive, with_headers)
        finally:
            # The router leaves the address's pattern there: whatever else is asked for counts as one.
            path = getattr(scope.get("route"), "path", "other")
            self._counters.requests.labels(path, str(status)).inc()
            self._counters.seconds.labels(path).observe(time.perf_counter() - start)

    def _admitted(self, scope: Scope) -> bool:
        """Whether a request needs no key, or shows one; all keys are compared, each in constant time."""
        path: str = scope["path"]
        if not self._keys or path in _OPEN or path.startswith("/static/") or scope["method"] == "OPTIONS":
            return True
        headers = Headers(scope=scope)
        shown = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")
        given = shown.encode("utf-8", "surrogateescape")
        # A list: none is left out after the first that fits.
        return any([hmac.compare_digest(given, key) for key in self._keys])  # noqa: C419
