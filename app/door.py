"""The door of the page: who is let in, with what, and what every answer carries."""

from __future__ import annotations

import time
from typing import NamedTuple
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .address import is_this_machine
from .limits import Limits
from .uploads import FILE, Uploads

# Gradio's page holds inline scripts, and its custom components are made of text; nothing comes from elsewhere.
_POLICY = {
    "default-src": "'self'",
    "script-src": "'self' 'unsafe-inline' 'unsafe-eval'",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data: blob:",
    "media-src": "'self' data: blob:",
    "font-src": "'self' data:",
    "worker-src": "'self' blob:",
    "object-src": "'none'",
    "base-uri": "'self'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}
HEADERS = {
    "Content-Security-Policy": "; ".join(f"{what} {whence}" for what, whence in _POLICY.items()),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""What every answer carries: no other host, no frame around the page, nothing taken for what it is not."""

_MEGABYTE = 1_000_000
# Of what is asked about pictures, which come as uploads: their names, wishes and corrected captions.
_QUESTION_MEGABYTES = 5
_READING = ("GET", "HEAD", "OPTIONS")
_UPLOAD = "/gradio_api/upload"
_TOOLS = "/gradio_api/mcp"
# All that the page, programs and language models send to. Gradio has more: recordings that stay in the system's
# temporary folder, functions of components, streams, an editor of the page.
_OPEN = ("/login", _UPLOAD, *(f"/gradio_api/{name}" for name in ("queue/join", "cancel", "reset")))
_OPEN_BELOW = (*(f"/gradio_api/{name}/" for name in ("call", "run", "api")), f"{_TOOLS}/")
# Read by none of them: files under an older address, which fetches from anywhere, what another host answers, streams,
# and copies of a session's contents that would stay on disk.
_CLOSED = tuple(f"/gradio_api/{name}" for name in ("file/", "proxy=", "stream/", "deep_link"))
# Open as long as its page is, and nothing is lost when it ends.
_HEARTBEAT = "/gradio_api/heartbeat/"
_SECONDS_OF_QUIET = 0.5


class _Refusal(NamedTuple):
    status: int
    sentence: str


_NOTHING = _Refusal(404, "There is nothing here.")


class Door:
    """Stands before Gradio, which has no way to refuse by address, by origin, by size or while it is being ended."""

    def __init__(self, uploads: Uploads, limits: Limits, *, login: bool) -> None:
        self.uploads = uploads
        self._any_host = login or limits.any_host
        self._inside = 0
        self.closing = False
        """From now on nobody is let in who wants something new; what runs is finished."""

    def before(self, app: ASGIApp) -> ASGIApp:
        """The app behind this door."""

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return

            async def answer(message: Message) -> None:
                if message["type"] == "http.response.start":
                    MutableHeaders(scope=message).update(HEADERS)
                await send(message)

            refusal = self._refusal(scope)
            if refusal is not None:
                told = JSONResponse({"detail": refusal.sentence}, refusal.status)
                await told(scope, receive, answer)
                return
            counted = not scope["path"].startswith(_HEARTBEAT)
            self._inside += counted
            try:
                with self.uploads.awaited(_pictures_length(scope)):
                    await app(scope, receive, answer)
            except ClientDisconnect:
                pass  # whoever goes away while sending needs no answer, and the log no traceback
            finally:
                self._inside -= counted

        return guarded

    def drain(self, *, seconds: float) -> bool:
        """Let nobody in and wait until all have their answers, for so long at most -> whether they have."""
        self.closing = True
        latest = quiet_since = time.monotonic()
        while time.monotonic() - latest < seconds:
            if self._inside:
                quiet_since = time.monotonic()
            # Between a question and the request for its answer a moment passes.
            elif time.monotonic() - quiet_since >= _SECONDS_OF_QUIET:
                return True
            time.sleep(_SECONDS_OF_QUIET / 10)
        return False

    def _refusal(self, scope: Scope) -> _Refusal | None:
        headers, path = Headers(scope=scope), str(scope["path"])
        if not self._any_host and not is_this_machine(_name(headers.get("host", ""))):
            return _Refusal(
                403,
                "This page answers only under the names of its own machine; to serve it under another, give it a "
                "login or start it with --public.",
            )
        if FILE in path and not self.uploads.holds(path.partition(FILE)[2]):
            return _Refusal(403, "Only files that were sent here can be had.")
        if path.startswith(_CLOSED):
            return _NOTHING
        if scope["method"] in _READING:
            return None
        if not f"{path}/".startswith(_OPEN_BELOW) and path.removesuffix("/") not in _OPEN:
            return _NOTHING
        if not _from_here(headers):
            return _Refusal(403, "Another site may not use this page in your name.")
        if self.closing:
            return _Refusal(503, "This page is being ended; try again in a minute.")
        if "transfer-encoding" in headers:
            return _Refusal(411, "What is sent must say how long it is.")
        too_long = int(headers.get("content-length", "0")) > _QUESTION_MEGABYTES * _MEGABYTE
        if too_long and not path.startswith(_UPLOAD):
            return _Refusal(413, f"A question may have {_QUESTION_MEGABYTES} MB.")
        if (length := _pictures_length(scope)) and not self.uploads.have_room(length):
            return _Refusal(503, "There is no room for more pictures at the moment; try again in a few minutes.")
        return None


def _pictures_length(scope: Scope) -> int:
    """How many bytes a request may bring to be stored: pictures come as uploads and, as text, to the tools.

    Other questions only name what was uploaded, and are answered, too, when there is no room.
    """
    brings = scope["method"] == "POST" and str(scope["path"]).startswith((_UPLOAD, _TOOLS))
    return int(Headers(scope=scope).get("content-length", "0")) if brings else 0


def _from_here(headers: Headers) -> bool:
    """Whether a request that changes something comes from this page or from no page at all.

    As Go's net/http CrossOriginProtection: a browser says so itself, an older one names the origin.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")


def _name(host: str) -> str:
    """`localhost` of `localhost:7860`, `::1` of `[::1]:7860`."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
