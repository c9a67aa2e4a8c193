"""On many machines a run writes what it writes on one, whatever dies on the way."""

from __future__ import annotations

import importlib.util
import itertools
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import captioner.inference.ray_engine as ray_engine
from captioner.cli import app
from captioner.data.listing import Item, list_items
from captioner.errors import ConfigError, DataError
from captioner.inference.captioner import Captioner
from captioner.inference.destinations import OneFile
from captioner.inference.ray_engine import PartCaptioner, PartJob, caption_parts, gather, plan_parts
from captioner.inference.records import RecordStyle, made_by, read_records
from captioner.text.steering import Steering
from pipelines.outputs import Output


@pytest.fixture
def folder(pictures: list[Path]) -> Path:
    """Five pictures, one of them broken."""
    pictures[2].write_bytes(b"broken")
    return pictures[0].parent


@pytest.fixture
def job(model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PartJob:
    monkeypatch.setattr(ray_engine, "_PART", 2)
    monkeypatch.chdir(tmp_path)  # an actor goes there, and the test that follows must not stay
    captioner = Captioner.from_pretrained(model_folder, device="cpu")
    origin = made_by(
        model=captioner.name,
        preprocessing=captioner.model.encoder.preprocessing,
        search=captioner.search,
        steering=Steering(),
        candidates=3,
    )
    return PartJob(
        folder=tmp_path / "captions.jsonl.parts",
        working_folder=tmp_path,
        model=model_folder,
        device="cpu",
        search=captioner.search,
        steering=Steering(),
        candidates=3,
        style=RecordStyle(origin),
        batch_size=16,
        workers=1,
        threads=1,
    )


def destination(job: PartJob, tmp_path: Path) -> OneFile:
    return OneFile(tmp_path / "captions.jsonl", "jsonl", job.style, already_there="skip")


def command(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["caption", *map(str, arguments)])


def local(folder: Path, model_folder: Path, tmp_path: Path) -> bytes:
    command(folder, "--model", model_folder, "--out", tmp_path / "local.jsonl", "--device", "cpu")
    return (tmp_path / "local.jsonl").read_bytes()


def test_an_actor_that_computes_in_another_precision_is_refused(job: PartJob) -> None:
    origin = job.style.made_by | {"precision": "bfloat16"}
    with pytest.raises(ConfigError, match="one computes in float32 and the run in bfloat16"):
        PartCaptioner(replace(job, style=RecordStyle(origin)))


def test_parts_gathered_are_what_one_machine_writes(
    job: PartJob, folder: Path, model_folder: Path, tmp_path: Path
) -> None:
    place = destination(job, tmp_path)
    parts = plan_parts(list_items([folder]), place, job.folder, job.style.made_by)
    actor = PartCaptioner(job)
    told = [actor({"part": [part]}) for part in range(parts)]
    assert [each["captioned"] for each in told] == [[2], [1], [1]]
    assert [each["errors"] for each in told] == [["[]"], ['["not a picture"]'], ["[]"]]
    gather(place, job.folder, parts)
    place.close()
    assert (tmp_path / "captions.jsonl").read_bytes() == local(folder, model_folder, tmp_path)
    assert not job.folder.exists()


def test_a_plan_leaves_out_what_is_done(job: PartJob, folder: Path, tmp_path: Path) -> None:
    command(folder, "--model", job.model, "--out", tmp_path / "captions.jsonl", "--limit", "2", "--device", "cpu")
    place = destination(job, tmp_path)
    assert plan_parts(list_items([folder]), place, job.folder, job.style.made_by) == 2  # of three pictures
    place.close()


def test_a_limit_counts_what_is_not_done_yet(job: PartJob, folder: Path, tmp_path: Path) -> None:
    command(folder, "--model", job.model, "--out", tmp_path / "captions.jsonl", "--limit", "2", "--device", "cpu")
    place = destination(job, tmp_path)
    parts = plan_parts(list_items([folder]), place, job.folder, job.style.made_by, limit=1)
    assert PartCaptioner(job)({"part": [0]})["errors"] == ['["not a picture"]']  # the third
    assert parts == 1
    place.close()


def test_a_plan_cut_short_is_made_anew(job: PartJob, folder: Path, tmp_path: Path) -> None:
    """Nor does what an earlier plan has left behind stand for what is in the new one."""
    place = destination(job, tmp_path)
    origin = job.style.made_by
    assert plan_parts(itertools.islice(list_items([folder]), 2), place, job.folder, origin, stop=lambda: True) == 0
    (job.folder / "00000000.jsonl").write_text("left")
    assert plan_parts(list_items([folder]), place, job.folder, origin) == 3
    assert not (job.folder / "00000000.jsonl").exists()
    place.close()


def test_names_begin_where_the_run_does(
    job: PartJob, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    place = destination(job, tmp_path)
    plan_parts(list_items(["0.png"]), place, job.folder, job.style.made_by)
    monkeypatch.chdir(tmp_path)
    told = PartCaptioner(replace(job, working_folder=folder))({"part": [0]})
    assert told["captioned"] == [1]
    place.close()


def test_parts_left_behind_are_gone_on_with_or_replaced(tmp_path: Path) -> None:
    left = tmp_path / "a.jsonl.parts"
    left.mkdir()
    assert Output(tmp_path / "a.jsonl", None, None, resume=True).take_parts_folder() == left
    with pytest.raises(DataError, match="--resume"):
        Output(tmp_path / "a.jsonl", None, None, resume=False).take_parts_folder()
    assert Output(tmp_path / "a.jsonl", None, "overwrite", resume=False).take_parts_folder() == left
    assert not left.exists()


def test_a_plan_that_is_there_is_gone_on_with(job: PartJob, folder: Path, tmp_path: Path) -> None:
    place = destination(job, tmp_path)
    assert plan_parts(list_items([folder]), place, job.folder, job.style.made_by) == 3

    def never() -> Iterator[Item]:
        raise AssertionError("nothing is listed again")
        yield

    assert plan_parts(never(), place, job.folder, job.style.made_by) == 3
    with pytest.raises(DataError, match=r"model 'tiny@.*', now 'other'"):
        plan_parts(never(), place, job.folder, {**job.style.made_by, "model": "other"})
    place.close()


def test_gathering_that_was_cut_short_adds_nothing_twice(job: PartJob, folder: Path, tmp_path: Path) -> None:
    place = destination(job, tmp_path)
    parts = plan_parts(list_items([folder]), place, job.folder, job.style.made_by)
    actor = PartCaptioner(job)
    for part in range(parts):
        actor({"part": [part]})
    place.append(read_records(job.folder / "00000000.jsonl"))  # and then the machine died
    place.close()
    again = destination(job, tmp_path)
    gather(again, job.folder, parts)
    again.close()
    names = [record["path"] for record in read_records(tmp_path / "captions.jsonl")]
    assert names == [item.name for item in list_items([folder])]


def test_a_broken_archive_is_told_as_on_one_machine(job: PartJob, model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "shard.tar").write_bytes(b"no archive")
    place = destination(job, tmp_path)
    parts = plan_parts(list_items([tmp_path / "shard.tar"]), place, job.folder, job.style.made_by)
    PartCaptioner(job)({"part": [0]})
    gather(place, job.folder, parts)
    place.close()
    assert (tmp_path / "captions.jsonl").read_bytes() == local(tmp_path / "shard.tar", model_folder, tmp_path)


def test_without_ray_the_remedy_is_told(job: PartJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'captioner\[ray\]'"):
        next(caption_parts(job, 1, actors=1, gpus=0))


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install -e '.[ray]'")
def test_ray_writes_the_same_records(folder: Path, model_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "ray.jsonl"
    arguments = ["caption", folder, "--model", model_folder, "--out", out, "--engine", "ray", "--device", "cpu"]
    # In a process of its own: Ray starts others, and warns of itself.
    answer = subprocess.run(
        [sys.executable, "-m", "captioner.cli", *map(str, arguments)], capture_output=True, text=True, timeout=280
    )
    assert answer.returncode == 3, answer.stderr
    assert out.read_bytes() == local(folder, model_folder, tmp_path)
    assert "4 pictures captioned, 1 not (1 not a picture)" in answer.stderr
