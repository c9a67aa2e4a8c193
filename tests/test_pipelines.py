"""The whole way, as the README tells it, on the drawn collection: prepare, train, evaluate, caption."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import pytest

from captioner.data.shapes import COLOURS
from tests.readme import commands, run_in


@pytest.mark.timeout(900)
def test_drawings_are_learnt_and_captioned_right(tmp_path: Path) -> None:
    """BLEU-4 above 0.80 on drawings never seen, and the caption of one names what is drawn."""
    for command in commands("captioner prepare shapes"):
        run_in(tmp_path, command)

    figures = json.loads((tmp_path / "out" / "shapes" / "scores.json").read_text())["scores"]
    assert figures["bleu_4"] > 80
    assert (tmp_path / "out" / "shapes" / "report.html").exists()

    drawing = datasets.load_from_disk(str(tmp_path / "data" / "shapes"))["test"][0]
    drawing["image"].save(tmp_path / "drawing.png")
    [line] = run_in(tmp_path, "captioner caption drawing.png --model runs/shapes/best").splitlines()
    path, _, caption = line.partition(": ")
    assert path == "drawing.png"
    drawn = {word for reference in drawing["captions"] for word in reference.split()} & set(COLOURS)
    assert drawn & set(caption.lower().strip(".").split())
