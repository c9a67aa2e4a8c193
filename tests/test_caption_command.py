"""`captioner caption`: what its options mean together, on a small network and real decoding processes."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import click
import pytest
from typer.testing import CliRunner, Result

from captioner.cli import app
from captioner.data.listing import Item
from captioner.durable import Growing
from captioner.errors import CaptionerError, DataError
from captioner.inference.bulk import Captioned
from captioner.inference.caption import Candidate, Caption
from captioner.inference.captioner import Captioner
from captioner.inference.records import RecordStyle
from pipelines.outputs import Printed
from pipelines.watching import _Arrivals


@pytest.fixture
def run(model_folder: Path):
    """The command in this process."""

    def command(*arguments: str | Path, stdin: bytes | None = None) -> Result:
        given = ["caption", *map(str, arguments), "--model", str(model_folder), "--workers", "1"]
        return CliRunner().invoke(app, given, input=stdin, standalone_mode=False)

    return command


def records(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def paths(path: Path) -> list[str]:
    return [record["path"] for record in records(path)]


def refused(answer: Result, *words: str) -> None:
    """The command ended with one sentence that says these words."""
    assert isinstance(answer.exception, CaptionerError | click.UsageError), answer.output
    for word in words:
        assert word in str(answer.exception)


def test_a_run_goes_on_where_it_stood(run, pictures: list[Path], tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole.jsonl", tmp_path / "parts.jsonl"
    assert run(pictures[0].parent, "--out", whole).return_value is None
    run(pictures[0].parent, "--out", parts, "--limit", "2")
    assert len(records(parts)) == 2
    answer = run(pictures[0].parent, "--out", parts, "--resume")
    assert "3 pictures captioned" in answer.stderr
    assert "2 were done before" in answer.stderr
    assert parts.read_bytes() == whole.read_bytes()


def test_mirror_images_are_looked_at_on_demand(run, model_folder: Path, pictures: list[Path], tmp_path: Path) -> None:
    captioner = Captioner.from_pretrained(model_folder, device="cpu")
    for options, mirror in ((["--mirror"], True), (["--no-mirror"], False)):
        out = tmp_path / f"{mirror}.jsonl"
        run(pictures[0], "--out", out, *options)
        [record] = records(out)
        assert record["made_by"]["search"]["mirror"] is mirror
        [wanted] = captioner.caption([pictures[0]], search=replace(captioner.search, mirror=mirror))
        assert [each["log_probability"] for each in record["candidates"]] == pytest.approx(
            [candidate.log_probability for candidate in wanted.candidates], abs=1e-3
        )


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_what_could_not_be_read_is_tried_again_on_demand(
    run, pictures: list[Path], tmp_path: Path, ending: str
) -> None:
    folder, out = pictures[0].parent, tmp_path / f"a.{ending}"
    (folder / "letter.png").write_text("Dear reader")
    whole = pictures[1].read_bytes()
    pictures[1].write_bytes(whole[: len(whole) // 2])
    run(folder, "--out", out)
    pictures[1].write_bytes(whole)
    journal = out if ending == "jsonl" else out.with_name("a.csv.jsonl")
    failed = {record["path"] for record in records(journal) if record["error"]}
    assert failed == {str(pictures[1]), str(folder / "letter.png")}
    assert "2 of those done before have no caption; --retry" in run(folder, "--out", out, "--resume").stderr
    waiting = run(folder, "--out", out, "--resume", "--retry", "--dry-run").stdout
    assert waiting.split() == [str(pictures[1])]
    before = journal.read_bytes()
    refused(run(folder, "--out", out, "--resume", "--retry", "--prefix", "x: "), "wording.prefix")
    assert journal.read_bytes() == before
    journal.rename(tmp_path / "elsewhere")
    journal.symlink_to(tmp_path / "elsewhere")
    answer = run(folder, "--out", out, "--resume", "--retry")
    assert journal.is_symlink()
    assert "1 picture captioned" in answer.stderr
    assert [record["path"] for record in records(journal) if record["error"]] == [str(folder / "letter.png")]
    assert sorted(paths(journal)) == sorted([*map(str, pictures), str(folder / "letter.png")])
    refused(run(folder, "--out", out, "--retry"), "--retry", "give --resume, too")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--candidates", "2"], "are told in records"),
        (["--alt-text", "--format", "sidecar"], "nothing is printed here"),
        (["--actors", "4"], "give --engine ray"),
    ],
)
def test_options_that_would_do_nothing_are_refused(
    run, pictures: list[Path], options: list[str], sentence: str
) -> None:
    refused(run(pictures[0], *options), sentence)


def test_one_file_is_not_worded_in_two_ways(run, pictures: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "a.jsonl"
    run(pictures[0].parent, "--out", out, "--limit", "2", "--prefix", "photo: ")
    refused(run(pictures[0].parent, "--out", out, "--resume"), "wording.prefix")
    answer = run(pictures[0].parent, "--out", out, "--resume", "--prefix", "photo: ")
    assert answer.exception is None
    assert all(record["caption"].startswith("photo: ") for record in records(out))


def test_shards_share_the_work_and_merge_to_the_whole(run, pictures: list[Path], tmp_path: Path) -> None:
    for part in (1, 2):
        run(pictures[0].parent, "--out", tmp_path / f"{part}.jsonl", "--shard", f"{part}/2")
    both = paths(tmp_path / "1.jsonl") + paths(tmp_path / "2.jsonl")
    assert sorted(both) == [str(path) for path in pictures]
    merged = CliRunner().invoke(
        app, ["merge", str(tmp_path / "all.jsonl"), *(str(tmp_path / f"{part}.jsonl") for part in (1, 2))]
    )
    assert merged.exit_code == 0, merged.output
    assert paths(tmp_path / "all.jsonl") == both


def test_a_part_that_is_being_written_is_not_merged(run, pictures: list[Path], tmp_path: Path) -> None:
    part, whole = tmp_path / "1.csv", tmp_path / "whole.jsonl"
    run(pictures[0].parent, "--out", part)
    with Growing(tmp_path / "1.csv.jsonl"):
        answer = CliRunner().invoke(app, ["merge", str(whole), str(part)], standalone_mode=False)
    refused(answer, "1.csv is being written; wait for its run")
    assert not whole.exists()


def test_shards_of_a_format_are_merged_by_their_outputs(run, pictures: list[Path], tmp_path: Path) -> None:
    parts = [tmp_path / "1.csv", tmp_path / "2.csv"]
    for number, part in enumerate(parts, start=1):
        run(pictures[0].parent, "--out", part, "--shard", f"{number}/2")
    merged = CliRunner().invoke(app, ["merge", str(tmp_path / "all.csv"), *map(str, parts)])
    assert merged.exit_code == 0, merged.output
    rows = list(csv.DictReader(io.StringIO((tmp_path / "all.csv").read_text())))
    assert sorted(row["path"] for row in rows) == [str(path) for path in pictures]


def test_a_list_on_standard_input_names_pictures(run, pictures: list[Path], tmp_path: Path) -> None:
    listed = b"\0".join(os.fsencode(path) for path in pictures[:2]) + b"\0"
    run("-", "--out", tmp_path / "a.jsonl", stdin=listed)
    assert paths(tmp_path / "a.jsonl") == [str(path) for path in pictures[:2]]


def test_patterns_choose(run, pictures: list[Path], tmp_path: Path) -> None:
    run(pictures[0].parent, "--out", tmp_path / "a.jsonl", "--include", "[0-2].png", "--exclude", "1*")
    assert paths(tmp_path / "a.jsonl") == [str(pictures[0]), str(pictures[2])]


def test_a_dry_run_names_what_is_left_and_writes_nothing(run, pictures: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "a.jsonl"
    assert run(pictures[0].parent, "--out", out, "--dry-run").stdout.splitlines() == [str(path) for path in pictures]
    assert not out.exists()
    run(pictures[0].parent, "--out", out, "--limit", "4")
    before = out.read_bytes()
    assert run(pictures[0].parent, "--out", out, "--resume", "--dry-run").stdout == f"{pictures[4]}\n"
    for existing in ("overwrite", "append"):
        answer = run(pictures[0].parent, "--out", out, "--on-existing", existing, "--dry-run")
        assert answer.stdout.splitlines() == [str(path) for path in pictures]
    assert out.read_bytes() == before


def test_sidecars_stand_beside_pictures_and_are_not_written_twice(run, pictures: list[Path]) -> None:
    (pictures[0].parent / "1.txt").write_text("mine")
    answer = run(pictures[0].parent, "--format", "sidecar", "--prefix", "photo: ")
    assert "4 pictures captioned" in answer.stderr
    assert (pictures[0].parent / "1.txt").read_text() == "mine"
    assert (pictures[0].parent / "0.txt").read_text().startswith("photo: ")


def test_one_caption_is_searched_for_where_no_other_would_be_told_and_it_is_the_same(
    run, pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted: list[int | None] = []
    describer = Captioner.describer

    def noted(self: Captioner, *, candidates: int | None = None, **options: Any) -> Any:
        wanted.append(candidates)
        return describer(self, candidates=candidates, **options)

    monkeypatch.setattr(Captioner, "describer", noted)
    run(pictures[0].parent, "--out", tmp_path / "a.jsonl")
    run(pictures[0].parent, "--format", "sidecar")
    assert wanted == [None, 1]
    beside = [picture.with_suffix(".txt").read_text().strip() for picture in pictures]
    assert sorted(beside) == sorted(record["caption"] for record in records(tmp_path / "a.jsonl"))


def test_csv_is_rendered_from_the_journal(run, pictures: list[Path], tmp_path: Path) -> None:
    run(pictures[0].parent, "--out", tmp_path / "a.csv", "--candidates", "2")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "a.csv").read_text())))
    assert [row["path"] for row in rows] == paths(tmp_path / "a.csv.jsonl")
    assert [len(record["candidates"]) for record in records(tmp_path / "a.csv.jsonl")] == [2] * 5


def test_records_say_what_made_them(run, pictures: list[Path], tmp_path: Path) -> None:
    run(pictures[0], "--out", tmp_path / "a.jsonl", "--forbid", "bike", "--seed", "3")
    [record] = records(tmp_path / "a.jsonl")
    made_by = record["made_by"]
    assert made_by["model"].startswith("tiny@")
    assert (made_by["search"]["method"], made_by["search"]["seed"]) == ("sample", 3)
    assert made_by["steering"]["forbid"] == ["bike"]
    assert made_by["preprocessing"]["size"] == 64


@pytest.mark.parametrize("batch_size", ["1", "3", "5"])
@pytest.mark.parametrize("workers", ["1", "3"])
def test_captions_depend_on_neither_batches_nor_workers(
    run, pictures: list[Path], tmp_path: Path, batch_size: str, workers: str
) -> None:
    run(pictures[0].parent, "--out", tmp_path / "a.jsonl")
    run(pictures[0].parent, "--out", tmp_path / "b.jsonl", "--batch-size", batch_size, "--workers", workers)
    told = [[(each["path"], each["caption"]) for each in records(tmp_path / name)] for name in ("a.jsonl", "b.jsonl")]
    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--resume"], ["--out"]),
        (["--resume", "--format", "sidecar"], ["sidecars"]),
        (["--resume", "--out", "a.jsonl", "--on-existing", "overwrite"], ["drop one"]),
        (["--on-existing", "skip"], ["--out"]),
        (["--on-existing", "prepend", "--out", "a.jsonl"], ["append"]),
        (["--format", "csv"], ["--out"]),
        (["--format", "xml", "--out", "a.xml"], ["'xml'", "jsonl"]),
        (["--out", "captions"], ["--format"]),
        (["--out", ".", "--format", "csv"], ["--out"]),
        (["missing.png", "--model", "missing"], ["missing.png", "check the name"]),
        (["--shard", "0/3"], ["1/N"]),
        (["--shard", "three"], ["i/N"]),
        (["--batch-size", "many"], ["--batch-size", "'many'"]),
        (["--template", "{size}"], ["--template"]),
        (["--min-confidence", "0.5"], ["captioner calibrate"]),
    ],
)
def test_what_contradicts_itself_is_one_sentence(
    run, pictures: list[Path], options: list[str], words: list[str]
) -> None:
    refused(run(pictures[0], *options), *words)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="There is no disk here that is always full.")
def test_a_full_disk_behind_standard_output_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    full = os.fdopen(os.open("/dev/full", os.O_WRONLY), "w")
    monkeypatch.setattr(sys, "stdout", full)
    printed = Printed(RecordStyle({}), confidence=False, words=False, alt_text=False)
    caption = Caption((Candidate("A dog.", 0.0, ("a", "dog")),))
    with pytest.raises(DataError, match=r"^Captions cannot be written to standard output \(No space left"):
        printed.write([Captioned(Item("a.jpg", PurePosixPath("a.jpg"), b""), caption, None)])
    with pytest.raises(OSError, match="No space left"):
        full.close()


def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(run, pictures: list[Path], tmp_path: Path) -> None:
    folder, out = pictures[0].parent, tmp_path / "a.jsonl"
    for number in range(100):
        os.link(pictures[0], folder / f"more-{number}.png")
    whole = tmp_path / "whole.jsonl"
    run(folder, "--out", whole, "--batch-size", "2")

    def interrupt() -> None:
        while not out.exists() or not out.stat().st_size:
            time.sleep(0.005)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    answer = run(folder, "--out", out, "--batch-size", "2")
    assert answer.exception is None
    assert answer.return_value == 75
    assert "nothing is lost: the same command with --resume goes on" in answer.stderr
    assert 0 < len(records(out)) < len(records(whole))
    run(folder, "--out", out, "--batch-size", "2", "--resume")
    assert out.read_bytes() == whole.read_bytes()


def test_watching_ends_with_its_limit_whatever_the_clock_of_a_camera_says(
    run, pictures: list[Path], tmp_path: Path
) -> None:
    for picture in pictures:
        os.utime(picture, (2e9, 2e9))
    run(pictures[0].parent, "--watch", "--limit", "2", "--out", tmp_path / "a.jsonl")
    assert paths(tmp_path / "a.jsonl") == [str(path) for path in pictures[:2]]


def test_an_empty_folder_keeps_no_other_from_being_watched(run, pictures: list[Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for picture in pictures:
        os.utime(picture, (1e9, 1e9))
    run(tmp_path / "empty", pictures[0].parent, "--watch", "--limit", "2", "--out", tmp_path / "a.jsonl")
    assert paths(tmp_path / "a.jsonl") == [str(path) for path in pictures[:2]]


def test_an_archive_is_read_once_it_is_whole_and_again_when_it_is_another(tmp_path: Path) -> None:
    arrivals, archive = _Arrivals(), tmp_path / "a.tar"
    archive.write_bytes(b"")
    assert not arrivals.has_new_archive(str(archive))  # still being written
    for moment in (1e9, 2e9):
        os.utime(archive, (moment, moment))
        assert arrivals.has_new_archive(str(archive))
        assert not arrivals.has_new_archive(str(archive))
    assert not arrivals.has_new_archive(str(tmp_path / "gone.tar"))


def test_pictures_may_be_written_outside_of_where_one_stands(
    run, pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pictures[0].parent)
    answer = run(".", "--out", "../written", "--format", "imagefolder")
    assert answer.exception is None
    assert (pictures[0].parent.parent / "written" / "metadata.jsonl").exists()


def test_what_arrives_is_captioned_until_it_is_stopped(
    model_folder: Path, pictures: list[Path], tmp_path: Path
) -> None:
    """Watching begins with an empty folder, takes what arrives twice, and ends at once with what it has."""
    inbox, out = tmp_path / "inbox", tmp_path / "a.jsonl"
    inbox.mkdir()
    command = [
        sys.executable,
        "-m",
        "captioner.cli",
        "caption",
        inbox,
        "--watch",
        "--out",
        out,
        "--model",
        model_folder,
    ]
    process = subprocess.Popen([str(part) for part in command], stderr=subprocess.PIPE, text=True)
    try:
        for number, picture in enumerate(pictures[:2]):
            picture.rename(inbox / picture.name)
            deadline = time.monotonic() + 60
            while not out.exists() or len(records(out)) <= number:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.communicate()
    assert paths(out) == [str(inbox / picture.name) for picture in pictures[:2]]
