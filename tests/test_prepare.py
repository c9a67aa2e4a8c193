"""`prepare` as a program: whole or not at all, and a mistake is a sentence."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from captioner.data import collection, sources
from captioner.data.formats import huggingface
from captioner.errors import CaptionerError, ConfigError, DataError
from pipelines.prepare import FORMATS_HELP, prepare

ROOT = Path(__file__).parent.parent
FEW = {"train": 4, "validation": 2, "test": 2, "size": 32}


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def broken_flickr8k(folder: Path) -> Path:
    """A collection of three drawings and a picture that does not open."""
    (folder / "images").mkdir(parents=True)
    rows = list(sources.shapes_rows({"train": 3}, size=32, seed=0))
    for row in rows:
        (folder / "images" / row.image_id).write_bytes(row.image)
    (folder / "images" / "broken.png").write_bytes(b"not a picture")
    names = [*(row.image_id for row in rows), "broken.png"]
    (folder / "Flickr8k.token.txt").write_text("".join(f"{name}#0\tgood words\n" for name in names))
    (folder / "Flickr_8k.trainImages.txt").write_text("\n".join(names))
    return folder


def test_it_writes_one_folder_with_the_collection_and_its_report(tmp_path, capsys):
    prepare("shapes", out=tmp_path / "new" / "out", **FEW)
    written = collection.load_collection(tmp_path / "new" / "out")
    assert {split: len(rows) for split, rows in written.items()} == {
        "train": 4,
        "validation": 2,
        "test": 2,
    }
    report = json.loads((tmp_path / "new" / "out" / "report.json").read_text())
    assert report["kept"]["train"] == {"pictures": 4, "captions": 20}
    assert "kept in validation" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out"]


def test_a_second_run_replaces_the_first_and_equals_it(tmp_path):
    out = tmp_path / "out"
    prepare("shapes", out=out, **FEW)
    first = contents(out)
    prepare("shapes", out=out, **FEW, seed=1)
    assert contents(out) != first
    prepare("shapes", out=out, **FEW)
    assert contents(out) == first
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_table_tells_what_was_dropped_and_too_much_is_an_error(tmp_path, capsys):
    folder, out = broken_flickr8k(tmp_path / "f"), tmp_path / "out"
    with pytest.raises(DataError, match=r"At most 2\.0% of the pictures may be bad, but 25\.0% are"):
        prepare(str(folder), out=out)
    [row] = [line for line in capsys.readouterr().out.splitlines() if "dropped: file is no picture" in line]
    assert "broken.png" in row
    assert not out.exists()
    prepare(str(folder), out=out, max_bad=0.25)
    dropped = json.loads((out / "report.json").read_text())["dropped"]
    assert [(loss["reason"], loss["count"]) for loss in dropped] == [("file is no picture", 1)]
    assert dropped[0]["names"][0].startswith("broken.png: ")


@pytest.mark.parametrize("other", ["notes.txt", "dataset_dict.json"])
def test_a_folder_with_other_things_is_left_alone(tmp_path, other):
    (tmp_path / other).write_text("precious")
    with pytest.raises(DataError, match=rf"holds other things \({other}\): choose another name"):
        prepare("shapes", out=tmp_path, **FEW)
    assert contents(tmp_path) == {other: b"precious"}


def test_a_collection_that_other_things_were_put_into_is_left_alone(tmp_path):
    prepare("shapes", out=tmp_path / "out", **FEW)
    (tmp_path / "out" / "runs").mkdir()
    before = contents(tmp_path / "out")
    with pytest.raises(DataError, match=r"holds other things \(runs\)"):
        prepare("shapes", out=tmp_path / "out", **FEW, seed=1)
    assert contents(tmp_path / "out") == before


def test_an_old_collection_that_a_killed_run_had_moved_away_is_put_back(tmp_path):
    out, working = tmp_path / "out", tmp_path / ".out.preparing"
    prepare("shapes", out=out, **FEW)
    before = contents(out)
    working.mkdir()
    out.rename(working / "replaced")
    with pytest.raises(DataError, match="nothing was left"):
        prepare("shapes", out=out, train=0, validation=0, test=0)
    assert contents(out) == before


def test_a_file_in_the_way_is_left_alone_and_an_empty_folder_is_taken(tmp_path):
    (tmp_path / "file").write_text("precious")
    with pytest.raises(DataError, match="must be a folder"):
        prepare("shapes", out=tmp_path / "file", **FEW)
    (tmp_path / "empty").mkdir()
    prepare("shapes", out=tmp_path / "empty", **FEW)
    assert collection.load_collection(tmp_path / "empty")


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_a_run_that_breaks_off_leaves_the_old_collection_and_nothing_else(tmp_path, monkeypatch, fault):
    out = tmp_path / "out"
    prepare("shapes", out=out, **FEW)
    before = contents(out)

    def save(self, folder):
        Path(folder).mkdir()
        raise fault

    monkeypatch.setattr(collection.DatasetDict, "save_to_disk", save)
    expected = KeyboardInterrupt if isinstance(fault, KeyboardInterrupt) else DataError
    with pytest.raises(expected):
        prepare("shapes", out=out, **FEW, seed=1)
    assert contents(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_run_that_is_killed_leaves_nothing_half_and_the_next_one_clears_up(tmp_path):
    killed = python(
        "-c",
        "import os, signal\n"
        "from pathlib import Path\n"
        "from captioner.data import collection\n"
        "from pipelines.prepare import FORMATS_HELP, prepare\n"
        "collection.DatasetDict.save_to_disk = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"prepare('shapes', out=Path({str(tmp_path / 'out')!r}), train=3, size=32)\n",
    )
    assert killed.returncode == -9, killed.stderr
    assert not (tmp_path / "out").exists()
    prepare("shapes", out=tmp_path / "out", **FEW)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("source", "options", "sentence"),
    [
        ("shapes", {"max_bad": 2}, "--max-bad must be a share between 0 and 1, not 2"),
        ("shapes", {"format": "flickr8k"}, "--format must go with a folder, but the source is shapes"),
        (
            "folder",
            {"seed": 0, "train": 9},
            "--seed, --train must go with the source `shapes`, but the source is folder",
        ),
        (
            "shapes",
            {"images": Path("p"), "encoding": "cp1252", "caption_column": ["x"], "resplit": True},
            "--images, --encoding, --image-column, --caption-column or --split-column, --resplit must go with a folder",
        ),
        ("folder", {}, "folder is not there"),
        ("shapes", {"size": 3}, "32 pixels or more"),
        ("shapes", {"train": -3}, "0 or more, not -3"),
        ("shapes", {"train": 0, "validation": 0, "test": 0}, "nothing was left here: no pictures"),
    ],
)
def test_a_mistake_is_a_sentence_and_leaves_nothing(tmp_path, monkeypatch, source, options, sentence):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CaptionerError, match=sentence) as caught:
        prepare(source, out=Path("out"), **options)
    assert isinstance(caught.value, ConfigError | DataError)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_as_a_program_a_mistake_is_one_line_and_exit_code_2(tmp_path):
    done = python("-m", "pipelines.prepare", str(tmp_path), "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"captioner: {tmp_path} holds no collection")
    assert done.stderr.count("\n") == 1


def test_importing_the_command_loads_nothing_heavy():
    heavy = "{'torch', 'datasets', 'numpy', 'PIL', 'transformers'}"
    done = python("-c", f"import sys, pipelines.prepare; print(sorted({heavy} & set(sys.modules)))")
    assert done.stdout == "[]\n", done.stderr


def listed(folder: Path, *, pictures: int = 40, extra: str = "") -> Path:
    """A table of so many drawings, in no split."""
    folder.mkdir()
    rows = list(sources.shapes_rows({"train": pictures}, size=32, seed=0))
    for row in rows:
        (folder / row.image_id).write_bytes(row.image)
    lines = [f'{row.image_id},"{caption}"\n' for row in rows for caption in row.captions]
    (folder / "captions.csv").write_text("image,caption\n" + "".join(lines) + extra)
    return folder


def test_the_format_is_named_and_remarks_are_told(tmp_path, capsys):
    prepare(str(listed(tmp_path / "f")), out=tmp_path / "out", keep_lookalikes=True)
    told = capsys.readouterr().out
    assert f"{tmp_path / 'f'} is of the format table." in told
    assert (
        "The source sets no pictures apart for validation, so they were dealt by content: 32 to train, 8 to validation."
        in told
    )
    assert "Few training pictures, 32: start from a trained model (--from)." in told


def test_the_same_source_is_left_as_it_was_written_with_all_that_training_put_there(tmp_path, capsys):
    folder, out = listed(tmp_path / "f"), tmp_path / "out"
    prepare(str(folder), out=out, preview=True)
    (out / "features").mkdir()
    (out / "features" / "computed.npy").write_bytes(b"hours of work")
    before = contents(out)
    prepare(str(folder), out=out, preview=True)
    assert contents(out) == before
    assert f"{out} holds the same already and was left as it is." in capsys.readouterr().out
    (folder / "captions.csv").write_text("image,caption\ntrain-000000.png,another caption\n")
    prepare(str(folder), out=out)
    assert "in place of another that was there" in capsys.readouterr().out
    assert not (out / "features").exists()


def test_a_copy_of_the_source_in_another_place_gives_the_same_bytes(tmp_path):
    folder = listed(tmp_path / "f", extra="gone.png,a dog\n../out.png,a dog\n")
    shutil.copytree(folder, tmp_path / "copy")
    for name in ("f", "copy"):
        prepare(str(tmp_path / name), out=tmp_path / f"out {name}" / "same", preview=True, max_bad=0.2)
    assert contents(tmp_path / "out f") == contents(tmp_path / "out copy")


def test_the_page_is_written_beside_the_collection(tmp_path, capsys):
    prepare("shapes", out=tmp_path / "out", preview=True, **FEW)
    assert "<h1>out</h1>" in (tmp_path / "out" / "preview.html").read_text()
    assert f"Look at {tmp_path / 'out' / 'preview.html'}." in capsys.readouterr().out
    assert collection.load_collection(tmp_path / "out")


def test_shares_limit_and_resplit_say_which_pictures_go_where(tmp_path):
    folder = listed(tmp_path / "f")
    text = (folder / "captions.csv").read_text().replace("\n", ",test\n").replace("caption,test", "caption,split")
    (folder / "captions.csv").write_text(text)
    prepare(str(folder), out=tmp_path / "given", limit=10)
    assert {split: len(part) for split, part in collection.load_collection(tmp_path / "given").items()} == {"test": 10}
    prepare(str(folder), out=tmp_path / "dealt", resplit=True, test_share=0.01, keep_lookalikes=True)
    dealt = collection.load_collection(tmp_path / "dealt")
    assert {split: len(part) for split, part in dealt.items()} == {"train": 24, "validation": 8, "test": 8}


def test_columns_encoding_and_images_are_passed_on(tmp_path):
    folder = listed(tmp_path / "f")
    table = tmp_path / "liste.csv"
    table.write_bytes("bild;satz;art\ntrain-000000.png;ein grünes Quadrat;dev\n".encode("cp1252"))
    (folder / "captions.csv").unlink()
    told = {"image_column": "bild", "caption_column": ["satz"], "split_column": "art", "encoding": "cp1252"}
    prepare(str(table), out=tmp_path / "out", images=folder, format="table", **told)
    assert collection.load_collection(tmp_path / "out")["validation"]["captions"][:] == [["ein grünes Quadrat"]]


def test_a_folder_is_a_table_by_the_columns_that_are_told(tmp_path):
    folder = listed(tmp_path / "f")
    (folder / "captions.csv").write_text("bild;satz\ntrain-000000.png;ein grünes Quadrat\n", encoding="utf-8")
    sentence = (
        r"with the pictures, such as image, .*, but captions.csv has bild, satz: name the right one with --image-"
    )
    with pytest.raises(DataError, match=sentence):
        prepare(str(folder), out=tmp_path / "out")
    prepare(str(folder), out=tmp_path / "out", image_column="bild", caption_column=["satz"])
    assert collection.load_collection(tmp_path / "out")["train"]["captions"][:] == [["ein grünes Quadrat"]]


def test_a_folder_of_two_formats_is_told_so(tmp_path, capsys):
    folder = listed(tmp_path / "f", pictures=1)
    (folder / "train-000000.txt").write_text("said beside it\n")
    prepare(str(folder), out=tmp_path / "out")
    assert "is of the format table (it looks like sidecars too: --format decides)." in capsys.readouterr().out


def test_the_hub_is_asked_for_what_is_called_hf(tmp_path, monkeypatch):
    rows = list(sources.shapes_rows({"train": 5}, size=32, seed=0))
    monkeypatch.setattr(
        huggingface, "hub_rows", lambda name, columns, resplit: iter(rows) if name == "user/name" else iter(())
    )
    prepare("hf:user/name", out=tmp_path / "out", limit=3, keep_lookalikes=True)
    assert sum(map(len, collection.load_collection(tmp_path / "out").values())) == 3
    with pytest.raises(ConfigError, match="--format must go with a folder, but the source is hf:user/name"):
        prepare("hf:user/name", out=tmp_path / "other", format="table")


def test_the_help_names_every_format():
    assert all(name in FORMATS_HELP for name in sources.FORMATS)
