"""What all pages that stand alone share: a head that lets them fetch nothing, and their looks in light and dark."""

from __future__ import annotations

import base64
import io

import jinja2

from captioner.data.images import ImageSource, read_image

_STANDALONE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
      content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,">
<title>{{ title }}</title>
<style>
:root { --paper: #faf9f6; --card: #fff; --ink: #1d2021; --quiet: #666a6d; --line: #e4e1da; --mark: #2f6f5e;
  --wash: #d5e6e0; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #15181a; --card: #1e2225; --ink: #e8e6e1; --quiet: #9aa0a4; --line: #30363a; --mark: #6fc2a8;
    --wash: #2c4a42; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 66rem; margin: 0 auto; padding: 3rem 1.5rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 3rem 0 .8rem; }
p { max-width: 46rem; }
.quiet { color: var(--quiet); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1rem 1.2rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.2rem; margin: 0; }
dt { color: var(--quiet); }
dd { margin: 0; overflow-wrap: anywhere; }
{% block style %}{% endblock %}
</style>
</head>
<body>
<main>
{% block content %}{% endblock %}
</main>
</body>
</html>
"""

_SETTINGS = """\
<dl class="card">
{% for name, value in settings.items() %}
<dt>{{ name }}</dt><dd>{{ value }}</dd>
{% endfor %}
</dl>
"""


def standalone_page(template: str, **others: str) -> jinja2.Template:
    """The page of a template that fills the blocks `style` and `content`, and is given a `title`.

    It may include `others` by their names, and `settings`, which lists what a dict called so holds. What it shows is
    escaped, since names come from a stranger's disk.
    """
    environment = jinja2.Environment(
        loader=jinja2.DictLoader({"standalone": _STANDALONE, "settings": _SETTINGS, "page": template, **others}),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("page")


def inlined(picture: ImageSource, *, longest: int) -> str:
    """A picture as the `src` of an `img`: a small JPEG, its longest side at most so many pixels. Raises ImageError."""
    thumbnail = read_image(picture, at_least=longest)
    thumbnail.thumbnail((longest, longest))
    file = io.BytesIO()
    thumbnail.save(file, "JPEG", quality=75, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
