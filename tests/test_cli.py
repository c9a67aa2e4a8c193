"""The command: quick to answer, and a user's mistake is one sentence on standard error with exit code 2."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import loading


def captioner(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "captioner.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def assert_one_sentence(answer: subprocess.CompletedProcess[str], *told: str, code: int = 2) -> None:
    assert answer.returncode == code
    assert answer.stdout == ""
    lines = answer.stderr.strip().splitlines()
    assert len(lines) == 1, answer.stderr
    assert lines[0].startswith("captioner: ")
    for words in told:
        assert words in lines[0]


def test_help_lists_every_command_without_loading_pytorch() -> None:
    seen = "import sys; from captioner.cli import app; print({'torch', 'gradio', 'datasets', 'PIL'} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", seen], capture_output=True, text=True, timeout=60)
    assert loaded.stdout.strip() == "set()"
    answer = captioner("--help")
    assert answer.returncode == 0
    for command in ("caption", "demo", "prepare", "train", "evaluate"):
        assert command in answer.stdout


def test_help_answers_in_under_a_second_of_processor_time() -> None:
    """Of the processor, not of the wall clock: other work on the machine must not fail this."""
    import resource

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    captioner("--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0


@pytest.mark.parametrize("command", ["caption", "demo", "prepare", "train", "evaluate"])
def test_every_command_explains_itself(command: str) -> None:
    answer = captioner(command, "--help")
    assert answer.returncode == 0
    assert "Usage" in answer.stdout


def test_a_process_that_decodes_starts_while_pytorch_is_still_to_be_imported(
    model_folder: Path, pictures: list[Path]
) -> None:
    watched = (
        "import sys; from captioner.cli import main; from captioner.data.decoding import Decoders as D; "
        "start = D.start; "
        "D.start = lambda self: (print('PyTorch:', 'torch' in sys.modules, flush=True), start(self)); main()"
    )
    command = [sys.executable, "-c", watched, "caption", str(pictures[0]), "--model", str(model_folder)]
    first, second = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout.splitlines()
    assert first == "PyTorch: False"
    assert second.startswith(f"{pictures[0]}: ")


def test_what_is_loaded_is_not_searched_for_garbage_and_what_comes_then_is() -> None:
    assert gc.isenabled()
    before = gc.get_freeze_count()
    with loading():
        assert not gc.isenabled()
        loaded = [[number] for number in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= before + len(loaded)


def test_a_missing_picture_is_one_sentence(model_folder: Path) -> None:
    assert_one_sentence(captioner("caption", "nowhere.jpg", "--model", model_folder), "there is no nowhere.jpg")


def test_a_folder_without_pictures_is_one_sentence(model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    assert_one_sentence(captioner("caption", tmp_path, "--model", model_folder), str(tmp_path), "holds none")


def test_a_text_file_called_jpg_is_one_sentence(model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    assert_one_sentence(captioner("caption", tmp_path / "text.jpg", "--model", model_folder), "text.jpg", code=3)


def test_nothing_to_caption_is_one_sentence() -> None:
    assert_one_sentence(captioner("caption"), "--samples")


def test_a_folder_without_a_model_is_one_sentence(pictures: list[Path], tmp_path: Path) -> None:
    assert_one_sentence(captioner("caption", pictures[0], "--model", tmp_path), "captioner train")


def test_an_unknown_setting_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("[training]\nepoch = 3\n")
    answer = captioner("train", tmp_path / "recipe.toml", "--data", tmp_path, "--out", tmp_path / "run")
    assert_one_sentence(answer, "There is no setting training.epoch; did you mean training.epochs?")


def test_a_missing_collection_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("")
    answer = captioner("train", tmp_path / "recipe.toml", "--data", tmp_path / "none", "--out", tmp_path / "run")
    assert_one_sentence(answer, "captioner prepare")


def test_pictures_are_captioned_and_a_broken_one_costs_only_itself(
    model_folder: Path, pictures: list[Path], tmp_path: Path
) -> None:
    pictures[3].write_bytes(b"broken")
    out = tmp_path / "captions.jsonl"
    answer = captioner("caption", pictures[0].parent, "--model", model_folder, "--out", out)
    assert answer.returncode == 3
    assert len([line for line in answer.stderr.splitlines() if "3.png" in line]) == 1
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert [record["path"] for record in records] == [str(path) for path in pictures]
    assert [record["error_kind"] for record in records] == [None, None, None, "not a picture", None]
    assert records[0]["caption"] == records[0]["candidates"][0]["text"]
    assert records[0]["made_by"]["model"].startswith("tiny@")


def test_captions_are_printed_after_their_paths(model_folder: Path, pictures: list[Path]) -> None:
    answer = captioner("caption", *pictures[:2], "--model", model_folder)
    assert answer.returncode == 0
    assert [line.split(": ")[0] for line in answer.stdout.splitlines()] == [str(path) for path in pictures[:2]]
    assert all(line.endswith(".") for line in answer.stdout.splitlines())


def test_a_command_run_as_a_module_tells_mistakes_alike() -> None:
    command = [sys.executable, "-m", "pipelines.caption", "nowhere.jpg"]
    root = Path(__file__).parent.parent
    assert_one_sentence(subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=root), "nowhere.jpg")
