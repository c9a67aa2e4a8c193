"""How the page fares, for those who watch over it: `/health` and `/version`, open without a login."""

from __future__ import annotations

import time
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import captioner

from .desk import Desk
from .door import Door


def condition_routes(desk: Desk, door: Door, *, login: bool) -> list[Route]:
    """GET /health: 200 while questions are taken, 503 while the page is being ended. GET /version.

    A page with a login tells here nothing of its models, nor since when it runs.
    """
    started = time.monotonic()

    def health(_request: Request) -> JSONResponse:
        told: dict[str, Any] = {"status": "closing" if door.closing else "ok", "version": version()}
        if not login:
            told |= {"models": list(desk.models), "seconds_up": round(time.monotonic() - started, 1)}
        return JSONResponse(told, 503 if door.closing else 200)

    return [Route("/health", health), Route("/version", lambda _request: JSONResponse({"version": version()}))]


def version() -> str:
    """The version of Captioner that serves this page."""
    return captioner.__version__
