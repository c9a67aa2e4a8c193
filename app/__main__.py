"""Serve the page on this machine.

captioner demo
captioner demo --model default --model runs/mine/best
CAPTIONER_AUTH=ada:secret captioner demo --host 0.0.0.0
captioner demo --public
"""

import os
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from captioner.errors import ConfigError
from captioner.interruption import stop_requests

from .address import is_this_machine
from .home import Home, default_home
from .limits import OWN, PUBLIC

_AUTH = "CAPTIONER_AUTH"
# What runs is finished when the page is ended, unless it takes longer.
_DRAIN_SECONDS = 30


def demo(
    model: Annotated[
        list[str] | None,
        typer.Option(help="A folder, USER/NAME, or default; may be repeated. The shipped model if not given."),
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen on; others than this machine's need a login.")] = (
        "127.0.0.1"
    ),
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="The first free one from 7860 if not given.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; CUDA where there is one.")] = None,
    public: Annotated[
        bool, typer.Option("--public", help=f"For strangers: {PUBLIC.told(unlike=OWN)}; --home is not touched.")
    ] = False,
    home: Annotated[
        Path | None,
        typer.Option(help=f"Where the page keeps models and captions between visits; {default_home()} if not given."),
    ] = None,
    mcp: Annotated[
        bool, typer.Option("--mcp", help="Be a tool for language models, too; needs the extra captioner[mcp].")
    ] = False,
) -> None:
    """Serve a page that captions pictures and shows where the model looked.

    Nobody but this machine can reach it, unless --host says otherwise and CAPTIONER_AUTH=user:password is set. For
    strangers, start it with --public and let a reverse proxy on this machine pass them on. On SIGTERM it finishes what
    runs; GET /health tells how it fares.
    """
    login = read_login(host)
    if mcp and find_spec("mcp") is None:
        raise ConfigError("A page with --mcp needs the package mcp; run pip install 'captioner[mcp]'.")
    # Before Gradio is imported, which reads them: it must call nobody, nor make a table of its last calls at each call.
    os.environ |= {
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_ANALYTICS_MAX_EVENTS": "1",
        "GRADIO_ANALYTICS_CACHE_FREQUENCY": str(2**60),
    }
    with tempfile.TemporaryDirectory(prefix="captioner-") as uploads, stop_requests() as asked_to_stop:
        os.environ["GRADIO_TEMP_DIR"] = os.path.realpath(uploads)

        from .desk import Desk, share_processors
        from .interface import build_page, launch
        from .models import Models, name_models
        from .uploads import uploads_here

        share_processors()
        limits = PUBLIC if public else OWN
        kept = None if public else Home((home or default_home()).expanduser().absolute())
        with Desk(Models(name_models(model or [], kept), device=device), waiting=limits.waiting) as desk:
            stored = uploads_here(limits)
            page = build_page(desk, stored, kept)
            served = launch(page, desk, host=host, port=port, login=login, uploads=stored, mcp=mcp)
            print(f"The page is at {served.address} (Ctrl-C ends it).", flush=True)
            while not asked_to_stop():
                time.sleep(0.1)
            served.end(seconds=_DRAIN_SECONDS)


def read_login(host: str) -> tuple[str, str] | None:
    """The user and password that CAPTIONER_AUTH names; None when it is not set.

    Raises ConfigError when it is malformed, or not set although other machines can reach `host`.
    """
    given = os.environ.get(_AUTH)
    if given is None:
        if not is_this_machine(host):
            raise ConfigError(
                f"A page that other machines can reach needs a login, but --host is {host} and {_AUTH} is not "
                f"set; set {_AUTH}=user:password, or leave --host out, to let only a reverse proxy on this machine in."
            )
        return None
    user, _, password = given.partition(":")
    if not (user and password):
        raise ConfigError(f"{_AUTH} must read user:password, but one of the two is missing; set both.")
    return user, password


if __name__ == "__main__":
    from captioner.pipelines import run

    run(demo)
