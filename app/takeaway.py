"""What a visitor takes along: alt text, the commands that say the same, and the explanation as files."""

from __future__ import annotations

import io
import json
import shlex
import zipfile
from dataclasses import fields
from pathlib import Path
from typing import Final, NamedTuple

from PIL import Image

from captioner.config import SearchConfig
from captioner.errors import CaptionerError
from captioner.inference.caption import Caption
from captioner.inference.explanation import Explanation
from captioner.inference.explanation_page import render_explanation
from captioner.model.hub import SHIPPED, check_repository
from captioner.text.alt_text import lint_alt_text, mend_alt_text
from captioner.text.steering import Steering

# Gradio has no download that is made when it is asked for: once it is made, the page fetches it.
FETCH: Final = """file => {
  const link = document.createElement("a");
  link.href = file.url;
  link.download = file.orig_name;
  link.click();
}"""

# What has no meaning for the other way of choosing, and is refused there.
_OF_BEAM: Final = ("beam_width", "length_exponent", "consensus", "groups", "diversity")
_OF_CHANCE: Final = ("temperature", "top_k", "top_p", "seed")


class AltText(NamedTuple):
    """A caption in the form of alt text."""

    text: str
    """It says so when the model is uncertain."""
    findings: list[str]
    """What still speaks against it, a sentence each."""


def alt_text(caption: Caption) -> AltText:
    """The best caption in the form of alt text, as far as form can be mended."""
    text = caption.hedge(mend_alt_text(caption.text or ""))
    return AltText(text, lint_alt_text(text))


def options(stored: SearchConfig, search: SearchConfig, steering: Steering) -> list[str]:
    """The options of `captioner caption` and `captioner explain` that turn what is stored into what was asked."""
    given = [f"--forbid={text}" for text in steering.forbid]
    given += [f"--require={text}" for text in steering.require]
    if steering.beginning is not None:
        given.append(f"--beginning={steering.beginning}")
    unused, telling = (_OF_CHANCE, "beam_width") if search.method == "beam" else (_OF_BEAM, "seed")
    for field in fields(stored):
        value = getattr(search, field.name)
        differs = value != getattr(stored, field.name)
        # Which way is meant, a command tells by one of its own options.
        needed = field.name == telling and search.method != stored.method
        if field.name not in (*unused, "method") and (differs or needed):
            given.append(f"--{field.name.replace('_', '-')}={value}")
    return given


def model_option(name: str, folder: Path | None) -> str | None:
    """What `--model` takes for a model that the page calls `name`; None where that cannot be told.

    Args:
        name: `default` and USER/NAME mean the same everywhere, other names nothing outside the page.
        folder: where the model lies, if that may be told.
    """
    try:
        if name != SHIPPED:
            check_repository(name)
    except CaptionerError:
        return str(folder) if folder else None
    return name


def command(subcommand: str, picture: str, model: str | None, options: list[str]) -> str:
    """The line for a shell that captions or explains a picture of this name; `model` None leaves the model out."""
    named = f"./{picture}" if picture.startswith("-") else picture
    of_model = [] if model in (None, SHIPPED) else [f"--model={model}"]
    return shlex.join(["captioner", subcommand, named, *of_model, *options])


def undated(name: str) -> zipfile.ZipInfo:
    """A member of a ZIP archive, of which the same content makes the same bytes on whatever day."""
    member = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    member.external_attr = 0o644 << 16
    return member


def pack_explanation(explanation: Explanation, picture: Image.Image, *, name: str, model: str) -> bytes:
    """A ZIP archive of explanation.html and explanation.json as `captioner explain` writes them.

    Args:
        explanation: what to pack.
        picture: what was captioned, upright RGB.
        name: what to call the picture.
        model: which model captioned it.
    """
    record = {"path": name, "model": model} | explanation.as_json()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, text in (
            ("explanation.html", render_explanation(explanation, picture, name=name, model=model)),
            ("explanation.json", json.dumps(record, ensure_ascii=False) + "\n"),
        ):
            archive.writestr(undated(member), text, zipfile.ZIP_DEFLATED)
    return packed.getvalue()
