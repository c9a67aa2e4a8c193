"""Serve the page on this machine.

captioner demo
CAPTIONER_AUTH=ada:secret captioner demo --host 0.0.0.0
"""

import ipaddress
import os
import signal
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from captioner.errors import ConfigError

_AUTH = "CAPTIONER_AUTH"


def demo(
    model: Annotated[Path | None, typer.Option(help="A folder, or USER/NAME; the shipped model if not given.")] = None,
    host: Annotated[str, typer.Option(help="The address to listen on; others than this machine's need a login.")] = (
        "127.0.0.1"
    ),
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="The first free one from 7860 if not given.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; CUDA where there is one.")] = None,
) -> None:
    """Serve a page that captions pictures and shows where the model looked.

    Nobody but this machine can reach it, unless --host says otherwise and CAPTIONER_AUTH=user:password is set.
    """
    login = read_login(host)
    signal.signal(signal.SIGTERM, _end)  # as on Ctrl-C: uploads go with the page
    # Before Gradio is imported, which reads them: it must call nobody.
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryDirectory(prefix="captioner-") as uploads:
        os.environ["GRADIO_TEMP_DIR"] = uploads

        from captioner.inference.captioner import Captioner

        from .desk import Desk
        from .interface import build_page, launch

        page = build_page(Desk({str(model or "default"): Captioner.from_pretrained(model, device=device)}))
        url = launch(page, host=host, port=port, login=login)
        print(f"The page is at {url} (Ctrl-C ends it).", flush=True)
        page.block_thread()


def _end(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def read_login(host: str) -> tuple[str, str] | None:
    """The user and password that CAPTIONER_AUTH names; None when it is not set.

    Raises ConfigError when it is malformed, or not set although other machines can reach `host`.
    """
    given = os.environ.get(_AUTH)
    if given is None:
        if not _is_loopback(host):
            raise ConfigError(
                f"A page that other machines can reach needs a login, but --host is {host} and {_AUTH} is not "
                f"set; set {_AUTH}=user:password, or leave --host out."
            )
        return None
    user, _, password = given.partition(":")
    if not (user and password):
        raise ConfigError(f"{_AUTH} must read user:password, but one of the two is missing; set both.")
    return user, password


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


if __name__ == "__main__":
    from captioner.pipelines import run

    run(demo)
