"""The page about a prepared collection: it needs nothing but itself, and counts right."""

from __future__ import annotations

import re

from captioner.data.collection import build
from captioner.data.rows import Dropped, Row
from captioner.inference.collection_page import SAMPLES, render
from tests.layouts import jpeg

HOSTILE = '<script>alert(1)</script> & "quotes"'


def page(tmp_path, *rows: Row | Dropped, title: str = "mine") -> str:
    return render(build(rows, tmp_path), title=title)


def bars(html: str) -> dict[str, int]:
    """Captions by their number of words, as the diagram tells them."""
    told = re.findall(r"<title>(\d+) captions of ([\d+]+)</title>", html)
    return {words: int(count) for count, words in told if int(count)}


def test_the_page_needs_nothing_but_itself_and_runs_no_script(tmp_path):
    html = page(tmp_path, Row("train", "a.jpg", jpeg(0), ("a dog runs",)))
    assert re.findall(r'(?:src|href)="(?!data:)', html) == []
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in html
    assert "<script" not in html
    assert html.count("data:image/jpeg;base64,") == 1


def test_names_captions_and_reasons_are_escaped(tmp_path):
    loss = Dropped("picture", HOSTILE, "because", HOSTILE)
    html = page(tmp_path, Row("train", HOSTILE, jpeg(0), (f"a dog {HOSTILE}",)), loss, title=HOSTILE)
    assert "<script" not in html
    assert html.count("&lt;script&gt;") >= 5


def test_lengths_and_words_are_counted(tmp_path):
    rows = [
        Row("train", "a", jpeg(0), ("a dog", "a dog runs")),
        Row("validation", "b", jpeg(1), ("a cat", "a " * 60)),
    ]
    html = page(tmp_path, *rows)
    assert bars(html) == {"2": 2, "3": 1, "40+": 1}
    assert "Commonest of 4 different words (2 occur once)" in html
    words = re.findall(r"<b>(\w+)</b><span>([\d,]+)</span>", html)
    assert words == [("a", "63"), ("dog", "2"), ("cat", "1"), ("runs", "1")]


def test_letters_are_counted_where_a_script_writes_no_spaces(tmp_path):
    html = page(tmp_path, Row("train", "a", jpeg(0), ("一只狗在跑",)))
    assert bars(html) == {"5": 1}
    assert "<h2>Letters in a caption</h2>" in html


def test_what_was_left_out_is_named_up_to_a_limit(tmp_path):
    losses = [Dropped("picture", f"lost {number}", "gone") for number in range(25)]
    html = page(tmp_path, Row("train", "a", jpeg(0), ("a dog",)), *losses, Dropped("caption", "x", "odd", "how odd"))
    assert "25 pictures" in html
    assert "and 5 more, all in report.json" in html
    assert "x: how odd" in html
    assert "lost 19" in html
    assert "lost 20" not in html


def test_a_few_pictures_of_every_split_are_shown_from_first_to_last_part(tmp_path):
    rows = [Row("train", f"{number:03}", jpeg(number), ("a dog",) * 7) for number in range(40)]
    html = page(tmp_path, *rows, Row("test", "only", jpeg(99), ("a cat",)))
    shown = re.findall(r'<p class="quiet">(\d{3}) · 2 more captions</p>', html)
    assert shown == [f"{5 * number:03}" for number in range(SAMPLES)]
    assert "Some of test" in html


def test_the_same_collection_gives_the_same_page(tmp_path):
    rows = [Row("train", f"{number}", jpeg(number), ("a dog", "b cat")) for number in range(9)]
    assert page(tmp_path, *rows) == page(tmp_path, *rows[::-1])
