"""The page and how it is served: what it looks like, and everything it must not do."""

from __future__ import annotations

import logging
from functools import partial
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from gradio import processing_utils, route_utils
from starlette.middleware import Middleware

import captioner
from captioner.errors import ConfigError

from .caption import caption_tab
from .condition import condition_routes, version
from .desk import Desk
from .door import Door
from .home import Home
from .lessons import Lessons
from .many import many_tab
from .model import model_choice, model_tab, offered
from .teach import teach_tab
from .uploads import Uploads, gradio_keeps

_SESSIONS = 128
# What we put in the place of Gradio's own: the function that fetches addresses, and the class that reads uploads.
_FETCHES = "async_ssrf_protected_download"
_READS = "GradioMultiPartParser"
_READER = getattr(route_utils, _READS, None)
_STYLES = sorted(Path(__file__).parent.glob("*.css"))
_ICON = Path(__file__).with_name("favicon.svg")
_THEME = gr.themes.Base(
    primary_hue=gr.themes.colors.orange,
    neutral_hue=gr.themes.colors.stone,
    radius_size=gr.themes.sizes.radius_lg,
    # Carried by Gradio. The weight its themes ask for, 600, is a file without most of the alphabet.
    font=(gr.themes.LocalFont("IBM Plex Sans", weights=(400, 700)), "system-ui", "sans-serif"),
).set(
    color_accent="var(--accent)",
    slider_color="var(--accent)",
    slider_color_dark="var(--accent)",
    block_info_text_color="var(--quiet)",
    block_info_text_color_dark="var(--quiet)",
    loader_color="var(--accent)",
    loader_color_dark="var(--accent)",
)

# In seconds. Gradio's queue looks for something to do every millisecond, which keeps a processor busy while nothing is.
_QUEUE_LOOKS = 0.01


def build_page(desk: Desk, uploads: Uploads, home: Home | None = None) -> gr.Blocks:
    """The page, not yet served; it can be taught where the limits of the uploads allow that and it has a home."""
    limits = uploads.limits
    kept = gradio_keeps(limits)
    home = home if limits.teaching else None
    # Looked for often, so that none is kept much longer than said.
    with gr.Blocks(title="Captioner", analytics_enabled=False, delete_cache=(kept // 10, kept)) as page:
        gr.HTML(
            "<header><h1>Captioner</h1>"
            "<p>A picture in, a sentence out, and where the model looked for each word of it.</p></header>",
            elem_id="heading",
        )
        model = model_choice(desk)
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("Caption", id="caption", elem_id="caption-page"):
                caption_tab(desk, model, limits)
            with gr.Tab("Many pictures", id="many", elem_id="many-page"):
                many_tab(desk, model, uploads, Lessons(home.collection) if home else None)
            if home is not None:
                with gr.Tab("Teach", id="teach", elem_id="teach-page") as teach:
                    teach_tab(desk, model, home, page, teach)
            with gr.Tab("Model", id="model", elem_id="model-page"):
                model_tab(desk, model)
        gr.HTML(
            "<footer>Pictures stay on the machine that serves this page, and are deleted within "
            f"{limits.kept_seconds // 60} minutes, what is made of them as long after it was made"
            f"{'; but those kept to teach stay' if home else ''}. "
            f"The model can be wrong: check what matters. Captioner&nbsp;{escape(captioner.__version__)}</footer>",
            elem_id="footing",
        )
        gr.api(version, api_name="version", queue=False)
        page.load(partial(offered, desk), None, model, show_progress="hidden", queue=False, api_visibility="private")
    # More run at once than the desk has room for, so that it tells who is one too many, in our words; Gradio's queue is
    # for what comes in one instant. Closed to calls that would go past it.
    page.queue(max_size=10 * limits.waiting, default_concurrency_limit=limits.waiting + 4, api_open=False)
    page._queue.sleep_when_free = _QUEUE_LOOKS
    return page


def _files_alone(*arguments: Any, **settings: Any) -> Any:
    """Gradio's reader of uploads, for files and nothing else."""
    return _READER(*arguments, **settings | {"max_fields": 0})


class Served(NamedTuple):
    """A page that is being served."""

    address: str
    door: Door
    page: gr.Blocks

    def end(self, *, seconds: float) -> None:
        """Let nobody in, finish what runs, but for so long at most, and close the page."""
        self.door.drain(seconds=seconds)
        logging.getLogger("uvicorn.error").disabled = True  # it would tell the cutting off as a traceback
        self.page.server.force_exit = True  # what is still open waits for the end of its own browser
        self.page.close(verbose=False)


def launch(
    page: gr.Blocks,
    desk: Desk,
    *,
    host: str,
    port: int | None,
    login: tuple[str, str] | None,
    uploads: Uploads,
    mcp: bool = False,
) -> Served:
    """Serve the page in the background; `port` None takes the first free one from 7860.

    With `mcp` the public functions are tools for language models, too. Raises ConfigError when nothing can listen
    there, or when Gradio is one that we do not know how to keep from fetching addresses.
    """
    for module, name in ((processing_utils, _FETCHES), (route_utils, _READS)):
        if not hasattr(module, name):
            raise ConfigError(
                f"Gradio must have {name}, which this page replaces to keep strangers within bounds, but Gradio "
                f"{gr.__version__} has none; install one with which Captioner was tried: pip install 'gradio>=6.22,<7'."
            )
    limits = uploads.limits
    door = Door(uploads, limits, login=login is not None)
    # Gradio would fetch whatever public address stands where a file should.
    setattr(processing_utils, _FETCHES, uploads.find)
    # It would keep in memory whatever comes in an upload beside files, however much it is.
    setattr(route_utils, _READS, _files_alone)
    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            auth=login,
            share=False,
            max_file_size=f"{limits.file_megabytes}mb",
            max_threads=2 * limits.waiting + 8,  # whoever waits holds one
            # Gradio forgets no session before there are more, and each takes 0.2 MB.
            state_session_capacity=_SESSIONS,
            allowed_paths=[],
            strict_cors=True,
            show_error=False,
            run_history=False,
            enable_monitoring=False,
            mcp_server=mcp,
            ssr_mode=False,
            pwa=False,
            footer_links=[],
            theme=_THEME,
            favicon_path=_ICON,
            css_paths=_STYLES,
            prevent_thread_lock=True,
            quiet=True,
            app_kwargs={
                "routes": condition_routes(desk, door, login=login is not None),
                "middleware": [Middleware(door.before)],
                "lifespan": uploads.swept,
            },
        )
    except OSError as error:
        raise ConfigError(
            f"The page must listen on a free port of this machine, but {host} port {port or '7860 to 7959'} "
            f"cannot be had ({error}); choose another --port or --host."
        ) from error
    return Served(address, door, page)
