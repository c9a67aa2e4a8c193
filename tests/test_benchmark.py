"""The benchmark measures every option against plain beam search."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from captioner.errors import DataError
from pipelines.benchmark import PLAIN, benchmark


def test_every_option_is_timed_beside_plain_beam_search(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    benchmark(None, pictures=1, rounds=1, out=tmp_path / "benchmark.json")
    figures = json.loads((tmp_path / "benchmark.json").read_text())
    assert figures["ratios"][PLAIN] == 1.0
    assert figures["ratios"]["drawn at random"] < figures["ratios"]["2 words required"]
    assert all(ratio > 0 for ratio in figures["ratios"].values())
    assert "1 word required" in capsys.readouterr().out


def test_a_file_that_cannot_be_written_is_told_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"figures.json cannot be written \(File exists\); choose another --out"):
        benchmark(tmp_path / "no such model", out=tmp_path / "file" / "figures.json")
