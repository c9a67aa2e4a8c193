"""24 pictures that may be shown, from packages and from our own pen, and what a model says of each, good and bad alike.

python -m pipelines.showcase
python -m pipelines.showcase --model runs/mine/best --out out/showcase

The photographs come with gradio, scikit-image and scikit-learn, which the extra `dev` installs.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from PIL import Image

from captioner.errors import ConfigError

from . import run, take_folder, write_text

_PHOTOGRAPHS = {
    ("gradio", "media_assets/images"): ("cheetah.jpg", "cheetah1.jpg", "lion.jpg", "tower.jpg"),
    ("sklearn", "datasets/images"): ("china.jpg", "flower.jpg"),
    ("skimage", "data"): (
        *("astronaut.png", "camera.png", "chelsea.png", "coffee.png", "coins.png", "grass.png"),
        *("hubble_deep_field.jpg", "moon.png", "motorcycle_left.png", "page.png", "retina.jpg", "rocket.jpg"),
    ),
}
"""By the package and the folder in it that hold them."""
_THUMBNAIL = 400


class _Shown(NamedTuple):
    name: str
    origin: str
    picture: Path | Image.Image


class _Captioned(NamedTuple):
    shown: _Shown
    caption: str
    level: str
    """How sure the model is; `-` where it was not calibrated."""
    source: str
    """The `src` of its `img`."""


def showcase(
    model: Annotated[str, typer.Option(help="A model folder, USER/NAME of the hub, or `default`.")] = "default",
    out: Annotated[Path, typer.Option(help="The folder for index.html and table.md.")] = Path("out/showcase"),
) -> None:
    """Caption the 24 pictures; `index.html` shows them, `table.md` is the same without pictures, for a model's card."""
    from captioner import Captioner
    from captioner.inference.standalone import inlined

    take_folder(out, marker="table.md")
    pictures = [*_photographs(), *_drawings()]
    captioner = Captioner.from_pretrained(model)
    captions = captioner.caption_each(each.picture for each in pictures)
    rows = []
    for each, caption in zip(pictures, captions, strict=True):
        said = caption.hedged or str(caption.error)
        rows.append(_Captioned(each, said, caption.level or "-", inlined(each.picture, longest=_THUMBNAIL)))
    table = [f"| {row.shown.name} | {row.shown.origin} | {row.caption} | {row.level} |" for row in rows]
    lines = ["| picture | from | what it says | how sure |", "| --- | --- | --- | --- |", *table]
    write_text(out / "table.md", "\n".join(lines) + "\n")
    write_text(out / "index.html", _page(rows, model))
    print("\n".join(lines))
    print(f"Look at {out / 'index.html'}.")


def _photographs() -> Iterator[_Shown]:
    """Raises ConfigError when a package is missing or does not carry them any more."""
    from captioner.data.samples import find_packaged

    for (package, folder), names in _PHOTOGRAPHS.items():
        paths = find_packaged(package, folder, names)
        if missing := sorted({*names} - {path.name for path in paths}):
            raise ConfigError(
                f"The picture {missing[0]} must come with the package {package}, but it is not there; install the "
                "extra dev: pip install -e '.[dev]'."
            )
        yield from (_Shown(path.name, package, path) for path in paths)


def _drawings() -> Iterator[_Shown]:
    """Three drawings of shapes and three other pictures that are no photographs."""
    from captioner.data.nonphotographs import draw_nonphotographs
    from captioner.data.shapes import draw

    for number, drawing in enumerate(draw(3, seed=1, size=224), start=1):
        yield _Shown(f"shapes {number}", "drawn", drawing.image)
    for other in [*draw_nonphotographs(6, seed=1)][3:]:
        yield _Shown(other.kind, "drawn", other.image)


def _page(rows: list[_Captioned], model: str) -> str:
    from captioner.inference.standalone import standalone_page

    return standalone_page(_PAGE).render(title=f"What {model} says of 24 pictures", rows=rows)


_PAGE = """\
{% extends "standalone" %}
{% block style %}
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(14rem, 1fr)); gap: 1rem; }
figure { margin: 0; }
figure img { width: 100%; height: 11rem; object-fit: cover; border-radius: 6px; }
{% endblock %}
{% block content %}
<h1>{{ title }}</h1>
<p class="quiet">From packages and drawn by Captioner; none was chosen for what is said of it.</p>
<div class="pictures">
{% for row in rows %}
<figure class="card">
<img src="{{ row.source }}" alt="{{ row.shown.name }}">
<figcaption><b>{{ row.caption }}</b><br>
<span class="quiet">{{ row.level }} · {{ row.shown.name }}, {{ row.shown.origin }}</span></figcaption>
</figure>
{% endfor %}
</div>
{% endblock %}
"""


if __name__ == "__main__":
    run(showcase)
