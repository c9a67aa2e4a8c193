"""What the README shows is what happens."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from captioner.data.samples import sample_pictures
from tests.conftest import SENTENCES
from tests.readme import ROOT, blocks, commands, layout, run_in

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as the README imagines it: dog.jpg, and holiday/ with pictures."""
    photograph = Image.open(sample_pictures()[0]).convert("RGB")
    photograph.save(tmp_path / "dog.jpg")
    (tmp_path / "holiday").mkdir()
    photograph.save(tmp_path / "holiday" / "beach.png")
    return tmp_path


def test_the_lines_of_python_print_a_sentence(folder: Path) -> None:
    code, _ = blocks("python")
    answer = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert re.fullmatch(r"[A-Z][^\n]*\.\n", answer.stdout)


def test_the_commands_caption_pictures_and_folders(folder: Path) -> None:
    printing, writing, _ = commands("captioner caption dog.jpg holiday/")
    lines = run_in(folder, printing).splitlines()
    assert [line.split(": ")[0] for line in lines] == ["dog.jpg", "holiday/beach.png"]
    run_in(folder, writing)
    [record] = [json.loads(line) for line in (folder / "captions.jsonl").read_text().splitlines()]
    assert record["path"] == "holiday/beach.png"
    assert record["error"] is None


def test_the_commands_for_many_pictures_do_what_their_comments_say(folder: Path) -> None:
    for command in commands("captioner caption holiday/ --out captions.csv"):
        run_in(folder, command)
    [row] = csv.DictReader((folder / "captions.csv").read_text().splitlines())
    assert row["path"] == "holiday/beach.png"
    assert (folder / "holiday" / "beach.txt").read_text() == f"{row['caption']}\n"
    [record] = [json.loads(line) for line in (folder / "both.jsonl").read_text().splitlines()]
    assert record["caption"] == row["caption"]


def test_the_commands_explain_and_steer(folder: Path) -> None:
    explaining, steering, listing = commands("captioner explain")
    run_in(folder, explaining)
    assert (folder / "out" / "explained" / "dog" / "explanation.html").exists()
    words = run_in(folder, steering).lower().strip(".\n").split()
    assert "rock" in words
    assert "dog" not in words[1:]  # the first is the file's name
    assert "swimming" in run_in(folder, listing)


@pytest.mark.timeout(600)
def test_the_way_to_ones_own_model_works_word_for_word(folder: Path) -> None:
    pictures = folder / "path" / "to" / "pictures"
    pictures.mkdir(parents=True)
    with (pictures / "metadata.jsonl").open("w") as lines:
        for number in range(12):
            pixels = np.random.default_rng(number).integers(0, 256, (60, 80, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(pictures / f"{number}.jpg")
            lines.write(json.dumps({"file_name": f"{number}.jpg", "caption": SENTENCES[number % 3]}) + "\n")
    told = [run_in(folder, command) for command in commands("captioner prepare path/to/pictures")]
    assert (folder / "data" / "mine" / "preview.html").exists()
    assert (folder / "runs" / "mine" / "report.html").exists()
    assert told[-1].startswith("dog.jpg: ")


def test_make_demo_and_make_test_do_what_they_say() -> None:
    demo, test = (
        subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for target in ("demo", "test")
    )
    assert demo.index("captioner caption --samples") < demo.index("captioner demo")
    assert all(tool in test for tool in ("ruff check", "mypy", "pytest"))


def test_the_map_names_every_file_in_its_own_words() -> None:
    [shown] = re.findall(r"^```\n(captioner/.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    assert shown == layout()


def test_every_linked_file_exists() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (ROOT / link).exists(), link
