"""The whole way, as a user goes it: prepare, train, evaluate, caption."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import datasets
import pytest

RECIPE = Path(__file__).parent.parent / "configs" / "shapes.toml"


def captioner(*arguments: str | Path) -> str:
    """What the command printed; its failure is the test's, with what it said."""
    command = [sys.executable, "-m", "captioner.cli", *map(str, arguments)]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


@pytest.mark.timeout(900)
def test_drawings_are_learnt_and_captioned_right(tmp_path: Path) -> None:
    """BLEU-4 above 0.80 on drawings never seen, and the caption of one names what is drawn."""
    data, run, scores = tmp_path / "shapes", tmp_path / "run", tmp_path / "scores"
    captioner("prepare", "shapes", "--out", data, "--train", 1000, "--validation", 60, "--test", 100, "--size", 128)
    captioner("train", RECIPE, "--data", data, "--out", run, "--set", "training.epochs=18")
    captioner("evaluate", run / "best", data, "--split", "test", "--out", scores)

    figures = json.loads((scores / "scores.json").read_text())["scores"]
    assert figures["bleu_4"] > 80
    assert (scores / "report.html").exists()

    drawing = datasets.load_from_disk(str(data))["test"][0]
    drawing["image"].save(tmp_path / "drawing.png")
    [line] = captioner("caption", tmp_path / "drawing.png", "--model", run / "best").splitlines()
    path, _, caption = line.partition(": ")
    assert path == str(tmp_path / "drawing.png")
    colours = {"red", "green", "blue", "yellow", "purple", "orange", "black", "pink", "brown"}
    drawn = {word for reference in drawing["captions"] for word in reference.split()} & colours
    assert drawn & set(caption.lower().strip(".").split())
