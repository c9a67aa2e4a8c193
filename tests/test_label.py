"""`captioner label`, on a tiny teacher with random weights: every picture once, whatever comes between."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import click
import pytest
import torch
from typer.testing import CliRunner, Result

from captioner.cli import app
from captioner.data.collection import load_collection
from captioner.errors import CaptionerError
from captioner.inference.teacher import Teacher
from tests.teachers import save_chatting

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_chatting(tmp_path_factory.mktemp("teachers") / "tiny")


@pytest.fixture
def run(teacher: Path, pictures: list[Path]) -> Run:
    """The command in this process, on the five pictures."""

    def command(out: Path, *arguments: str) -> Result:
        given = ["label", str(pictures[0].parent), "--teacher", str(teacher), "--out", str(out), *arguments]
        return CliRunner().invoke(app, [*given, "--device", "cpu", "--max-words", "6"], standalone_mode=False)

    return command


def lines(out: Path, name: str = "metadata.jsonl") -> list[dict]:
    return [json.loads(line) for line in (out / name).read_text().splitlines()]


def refused(answer: Result, *words: str) -> None:
    assert isinstance(answer.exception, CaptionerError | click.UsageError), answer.output
    for word in words:
        assert word in str(answer.exception)


def test_a_folder_is_labelled_and_prepared(run: Run, pictures: list[Path], tmp_path: Path) -> None:
    answer = run(tmp_path / "mine")
    assert answer.return_value is None
    assert "5 pictures captioned" in answer.stderr
    told = lines(tmp_path / "mine")
    assert [line["path"] for line in told] == [str(path) for path in pictures]
    assert all(1 <= len(line["captions"]) <= 5 for line in told)
    arguments = ["prepare", str(tmp_path / "mine"), "--out", str(tmp_path / "prepared")]
    prepared = CliRunner().invoke(app, arguments, standalone_mode=False)
    assert "of the format metadata" in prepared.stdout
    rows = [row for split in load_collection(tmp_path / "prepared").values() for row in split]
    assert sorted(row["captions"] for row in rows) == sorted(line["captions"] for line in told)


def test_what_made_the_captions_is_kept_with_them(run: Run, teacher: Path, tmp_path: Path) -> None:
    run(tmp_path / "mine", "--captions", "3", "--prompt", "a dog", "--seed", "4", "--limit", "1")
    made_by = json.loads((tmp_path / "mine" / "made_by.json").read_text())
    asked = {"prompt": "a dog", "captions": 3, "max_words": 6, "temperature": 1.0, "top_p": 0.9, "seed": 4}
    assert made_by == {"captioner": "0.1.0", "teacher": str(teacher), "revision": None, **asked}


def test_runs_in_parts_and_in_batches_write_what_one_run_writes(run: Run, tmp_path: Path) -> None:
    run(tmp_path / "whole")
    run(tmp_path / "parts", "--limit", "2")
    answer = run(tmp_path / "parts", "--resume", "--batch-size", "2")
    assert "2 were done before" in answer.stderr
    assert lines(tmp_path / "parts") == lines(tmp_path / "whole")


def test_a_run_that_dies_loses_nothing_that_was_written(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, calls = Teacher.answers, iter(range(99))

    def dying(*arguments: object, **named: object) -> object:
        if next(calls) == 3:  # the rehearsal and two pictures went well
            raise SystemExit("killed")
        return answers(*arguments, **named)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(Teacher, "answers", dying)
        run(tmp_path / "mine")
    assert len(lines(tmp_path / "mine")) == 2
    with (tmp_path / "mine" / "metadata.jsonl").open("a") as torn:
        torn.write('{"file_name": "pict')
    run(tmp_path / "mine", "--resume")
    run(tmp_path / "whole")
    assert lines(tmp_path / "mine") == lines(tmp_path / "whole")


def test_a_broken_picture_costs_itself_and_is_tried_again(run: Run, pictures: list[Path], tmp_path: Path) -> None:
    sound = pictures[3].read_bytes()
    pictures[3].write_bytes(sound[: len(sound) // 2])
    answer = run(tmp_path / "mine")
    assert answer.return_value == 3
    assert len(lines(tmp_path / "mine")) == 4
    [failed] = lines(tmp_path / "mine", "failed.jsonl")
    assert (failed["path"], failed["error_kind"]) == (str(pictures[3]), "damaged")
    pictures[3].write_bytes(sound)
    assert run(tmp_path / "mine", "--resume").return_value is None
    assert len(lines(tmp_path / "mine")) == 5
    assert lines(tmp_path / "mine", "failed.jsonl") == []


def test_the_same_picture_under_two_names_is_labelled_once(run: Run, pictures: list[Path], tmp_path: Path) -> None:
    shutil.copy(pictures[0], pictures[0].with_name("again.png"))
    assert "1 were done before" in run(tmp_path / "mine", "--batch-size", "3").stderr
    assert len({line["file_name"] for line in lines(tmp_path / "mine")}) == len(lines(tmp_path / "mine")) == 5


def test_a_picture_the_teacher_fails_at_costs_itself(
    run: Run, pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = Teacher.answers

    def failing(teacher: Teacher, images: list, *arguments: object, **named: object) -> object:
        if any(image.height == 40 + 9 * 2 for image in images):
            raise ValueError("absolute aspect ratio must be smaller than 200")
        return answers(teacher, images, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Teacher, "answers", failing)
    assert run(tmp_path / "mine", "--batch-size", "4").return_value == 3
    [failed] = lines(tmp_path / "mine", "failed.jsonl")
    assert failed["path"] == str(pictures[2])
    assert "the teacher failed at it (absolute aspect ratio" in failed["error"]


def test_where_memory_is_short_fewer_pictures_are_shown_at_a_time(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, shown = Teacher.answers, []

    def short(teacher: Teacher, images: list, *arguments: object, **named: object) -> object:
        shown.append(len(images))
        if len(images) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return answers(teacher, images, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Teacher, "answers", short)
    assert run(tmp_path / "mine", "--batch-size", "4").return_value is None
    assert shown == [1, 4, 2, 1, 1, 2, 1, 1, 1]


def test_ctrl_c_finishes_the_picture_at_hand(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers, calls = Teacher.answers, iter(range(99))

    def interrupted(*arguments: object, **named: object) -> object:
        if next(calls) == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return answers(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Teacher, "answers", interrupted)
    answer = run(tmp_path / "mine")
    assert answer.return_value == 75
    assert "--resume goes on" in answer.stderr
    assert len(lines(tmp_path / "mine")) == 1


def test_pictures_are_not_linked_into_the_folder_they_are_read_from(run: Run, pictures: list[Path]) -> None:
    refused(run(pictures[0].parent / "mine"), "it must lie outside what is labelled")


def test_a_folder_that_is_not_there_is_told_before_the_teacher_is_loaded(tmp_path: Path) -> None:
    arguments = ["label", "nowhere", "--teacher", "nobody/nothing", "--out", str(tmp_path / "mine")]
    refused(CliRunner().invoke(app, arguments, standalone_mode=False), "there is no nowhere")
