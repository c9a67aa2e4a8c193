"""Throughput is measured in one run, from files and without them."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from captioner.cli import app


def test_ways_are_timed_in_turn_and_compared(model_folder: Path, pictures: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    options = ["--model", model_folder, "--batch-size", "2", "--rounds", "1", "--out", out]
    answer = CliRunner().invoke(app, ["throughput", str(pictures[0].parent), *map(str, options)])
    assert answer.exit_code == 0, answer.output
    figures = json.loads(out.read_text())
    whole, overlapping = figures["files to written captions"], figures["CNN and search alone, overlapping"]
    ratio = figures["files to written captions / CNN and search alone, overlapping"]
    assert abs(ratio - whole / overlapping) < 0.01 * ratio
    assert all(figures[f"ms: {stage}"] > 0 for stage in ("CNN", "search and confidence", "writing"))


def test_too_few_pictures_are_one_sentence(model_folder: Path, pictures: list[Path]) -> None:
    answer = CliRunner().invoke(app, ["throughput", str(pictures[0]), "--model", str(model_folder)])
    assert "32 pictures or more" in str(answer.exception)
