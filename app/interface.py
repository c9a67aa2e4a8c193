"""The page and how it is served: what it looks like, and everything it must not do."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from captioner.errors import ConfigError

from .caption import caption_tab
from .desk import Desk
from .limits import OWN, Limits

_STYLES = sorted(Path(__file__).parent.glob("*.css"))
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


def build_page(desk: Desk, limits: Limits = OWN) -> gr.Blocks:
    """The page, not yet served."""
    kept = limits.kept_seconds
    with gr.Blocks(title="Captioner", analytics_enabled=False, delete_cache=(kept, kept)) as page:
        gr.HTML(
            "<header><h1>Captioner</h1>"
            "<p>A picture in, a sentence out, and where the model looked for each word of it.</p></header>",
            elem_id="heading",
        )
        model = gr.Dropdown(
            list(desk.models),
            value=desk.models[0],
            label="Model",
            visible=len(desk.models) > 1,
            buttons=[],
            elem_id="model-choice",
        )
        with gr.Tabs(elem_id="tabs"), gr.Tab("Caption", id="caption", elem_id="caption-page"):
            caption_tab(desk, model)
        gr.HTML(
            "<footer>Pictures stay on the machine that serves this page, and are deleted within two hours. "
            "The model can be wrong: check what matters.</footer>",
            elem_id="footing",
        )
    # Closed to calls that would go past the queue and its limit.
    return page.queue(max_size=limits.waiting, default_concurrency_limit=1, api_open=False)


def launch(page: gr.Blocks, *, host: str, port: int | None, login: tuple[str, str] | None, limits: Limits = OWN) -> str:
    """Serve the page in the background and return its address; `port` None takes the first free one from 7860.

    Raises ConfigError when nothing can listen there.
    """
    try:
        _, url, _ = page.launch(
            server_name=host,
            server_port=port,
            auth=login,
            share=False,
            max_file_size=f"{limits.file_megabytes}mb",
            allowed_paths=[],
            strict_cors=True,
            show_error=False,
            run_history=False,
            enable_monitoring=False,
            mcp_server=False,
            ssr_mode=False,
            pwa=False,
            footer_links=[],
            theme=_THEME,
            css_paths=_STYLES,
            prevent_thread_lock=True,
            quiet=True,
        )
    except OSError as error:
        raise ConfigError(
            f"The page must listen on a free port of this machine, but {host} port {port or '7860 to 7959'} "
            f"cannot be had ({error}); choose another --port or --host."
        ) from error
    return url
