"""Captioning again tells what has changed, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from captioner.cli import app
from captioner.inference.bulk import caption_items
from captioner.inference.records import Record, RecordStyle
from captioner.inference.verification import verify
from tests.stages import Decoding, Describing, items

STAGES = {"decoding": Decoding(), "describing": Describing(), "batch_size": 4}


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Record]:
    """The records of nine pictures that are there."""
    (tmp_path / "pictures").mkdir()
    for item in items(9):
        (tmp_path / item.name).touch()
    monkeypatch.chdir(tmp_path)
    style = RecordStyle({"model": "stand-in"})
    return [style.record(answer) for batch in caption_items(items(9), filled=True, **STAGES) for answer in batch]


def changed(records: list[Record]) -> Iterator[tuple[str, str]]:
    for verified in verify(records, **STAGES):
        if verified.verdict != "same":
            yield verified.record["path"], verified.verdict


def test_nothing_has_changed(made: list[Record]) -> None:
    assert list(changed(made)) == []


def test_another_caption_is_told(made: list[Record]) -> None:
    made[1]["candidates"][0]["text"] = "Number 99."
    made[2]["confidence"] += 0.1
    assert list(changed(made)) == [("pictures/1.png", "caption changed"), ("pictures/2.png", "numbers changed")]


def test_another_picture_is_told(made: list[Record]) -> None:
    made[1]["digest"] = "0" * 16
    assert list(changed(made)) == [("pictures/1.png", "picture changed")]


def test_what_failed_and_works_now_is_told(made: list[Record]) -> None:
    made[1] |= {"candidates": [], "caption": None, "error": "It was too slow."}
    assert list(changed(made)) == [("pictures/1.png", "error changed")]


def command(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments])


def test_records_in_a_file_of_any_name_are_found(model_folder: Path, pictures: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "captions"
    command("caption", *pictures[:2], "--model", model_folder, "--out", out, "--format", "jsonl")
    assert "2 records: 2 same." in command("verify", out, "--model", model_folder).stderr


def test_the_command_tells_of_pictures_and_settings(model_folder: Path, pictures: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "captions.csv"
    command("caption", *pictures[:3], "--model", model_folder, "--out", out, "--beam-width", "2")
    same = command("verify", out, "--model", model_folder)
    assert same.exit_code == 0, same.output
    assert "3 records: 3 same." in same.stderr
    Image.new("RGB", (30, 30), "red").save(pictures[0])
    pictures[1].unlink()
    journal = tmp_path / "captions.csv.jsonl"
    journal.write_text(journal.read_text().replace('"captioner": "', '"captioner": "0.0.'))
    other = command("verify", out, "--model", model_folder)
    assert other.exit_code == 3
    assert [line.split(": ")[1] for line in other.stdout.splitlines()] == ["picture changed", "gone"]
    assert "the settings differ: captioner '0.0." in other.stderr


def test_what_is_no_journal_is_told_before_a_model_is_looked_for(pictures: list[Path], tmp_path: Path) -> None:
    refused = command("verify", pictures[0], "--model", tmp_path / "nowhere")
    assert pictures[0].name in str(refused.exception)
