"""Models of the hub: found by name, downloaded file by file and checked, sent whole; every refusal is a sentence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from typer.testing import CliRunner

from captioner.cli import app
from captioner.data.collection import build
from captioner.data.sources import shapes_rows
from captioner.errors import CaptionerError, CheckpointError, ConfigError
from captioner.inference.captioner import Captioner
from captioner.model.checkpoint import write_beside
from captioner.model.hub import FILES, check_repository, find_model, send_model, split_revision
from tests.fake_hub import COMMIT, REPOSITORY, FakeHub, serving


@pytest.fixture
def hub(model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub with the tiny model and more files than a model has, an empty cache, and nobody logged in."""
    repository = Path(shutil.copytree(model_folder, tmp_path / "repository"))
    for name in ("modeling.py", "optimizer.pt", "notes.txt"):
        (repository / name).write_text("raise SystemExit('executed')")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    huggingface_hub.utils.disable_progress_bars()
    with serving(FakeHub(repository)) as served:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", served.endpoint)
        monkeypatch.setattr(
            "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
            served.endpoint + "/{repo_id}/resolve/{revision}/{filename}",
        )
        yield served
    huggingface_hub.close_session()


def go_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    huggingface_hub.close_session()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.mark.parametrize("called", [REPOSITORY, f"{REPOSITORY}@v1", f"{REPOSITORY}@{COMMIT}", Path(REPOSITORY)])
def test_a_model_of_the_hub_captions_like_the_one_that_was_sent(
    hub: FakeHub, called: str | Path, model_folder: Path, pictures: list[Path]
) -> None:
    fetched, own = (Captioner.from_pretrained(each, device="cpu") for each in (called, model_folder))
    assert fetched.caption(pictures[0]) == own.caption(pictures[0])
    assert fetched.name == own.name.replace("tiny@", f"{REPOSITORY}@")


def test_only_files_of_a_checkpoint_are_downloaded(hub: FakeHub) -> None:
    folder = find_model(REPOSITORY).folder
    expected = {"config.json", "vocabulary.json", "model.safetensors", "manifest.json"}
    assert set(hub.downloaded) == expected
    assert {path.name for path in folder.iterdir()} == expected


def test_what_was_downloaded_needs_no_network(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    Captioner.from_pretrained(REPOSITORY, device="cpu")
    go_offline(monkeypatch)
    hub.downloaded.clear()
    Captioner.from_pretrained(REPOSITORY, device="cpu")
    assert hub.downloaded == []


def test_a_changed_file_of_the_hub_is_refused(hub: FakeHub) -> None:
    (hub.folder / "config.json").write_bytes((hub.folder / "config.json").read_bytes() + b" ")
    with pytest.raises(CheckpointError, match=r"config\.json does not match the SHA-256"):
        Captioner.from_pretrained(REPOSITORY, device="cpu")


def test_a_folder_of_that_name_comes_before_the_hub(hub: FakeHub, model_folder: Path) -> None:
    shutil.copytree(model_folder, REPOSITORY)
    found = find_model(REPOSITORY)
    assert found == (Path(REPOSITORY), "captions", False)
    assert hub.downloaded == []


def test_a_mistyped_path_is_not_asked_of_the_hub(hub: FakeHub) -> None:
    Path("somebody").mkdir()
    with pytest.raises(CheckpointError, match="A model is a folder with"):
        Captioner.from_pretrained(REPOSITORY, device="cpu")
    assert hub.downloaded == []


@pytest.mark.parametrize("called", ["/models/mine", "mine", "runs/mine/best", "../mine", "./mine", "user/name@"])
def test_what_can_be_no_repository_is_a_path(called: str) -> None:
    assert find_model(called) == (Path(called), Path(called).resolve().name, False)


def test_default_is_the_shipped_model() -> None:
    assert find_model("default") == find_model(None)
    assert (find_model(None).folder / "manifest.json").exists()


def test_a_revision_is_told_from_a_path(tmp_path: Path) -> None:
    (tmp_path / "a@b").mkdir()
    assert split_revision("user/name@v1.0") == ("user/name", "v1.0")
    assert split_revision("user/name") == ("user/name", None)
    assert split_revision(str(tmp_path / "a@b")) == (str(tmp_path / "a@b"), None)


@pytest.mark.parametrize(
    ("called", "refusal", "told"),
    [
        ("somebody/nothing", None, "the hub shows you no such repository"),
        (f"{REPOSITORY}@v2", None, "that repository has no such revision"),
        (REPOSITORY, 401, "the hub shows you no such repository"),
        (REPOSITORY, 403, "access is refused; log in"),
    ],
)
def test_what_the_hub_does_not_give_is_a_sentence(hub: FakeHub, called: str, refusal: int | None, told: str) -> None:
    hub.refusal = refusal
    with pytest.raises(CheckpointError, match=told):
        find_model(called)


def test_no_network_is_a_sentence(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(CheckpointError, match="there is no such folder, and the hub cannot be reached, nor was it"):
        find_model(REPOSITORY)


def test_a_network_that_is_forbidden_is_a_sentence(
    hub: FakeHub, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_offline(monkeypatch)
    with pytest.raises(CheckpointError, match="HF_HUB_OFFLINE keeps this program from the network"):
        find_model(REPOSITORY)
    with pytest.raises(CaptionerError, match="HF_HUB_OFFLINE keeps this program from the network"):
        send_model(model_folder, REPOSITORY, public=False)


@pytest.mark.parametrize(("refusal", "told"), [(401, "no valid token was found; log in"), (403, "use one that does")])
def test_a_model_that_the_hub_does_not_take_is_a_sentence(
    hub: FakeHub, model_folder: Path, refusal: int, told: str
) -> None:
    hub.refusal = refusal
    with pytest.raises(CaptionerError, match=told):
        send_model(model_folder, REPOSITORY, public=False)


class Uploads:
    """What is sent, put into a folder that stands for the repository."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, repository: Path) -> None:
        self.repository = repository
        self.created: list[dict[str, Any]] = []
        monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", lambda _, name, **how: self.created.append(how))
        monkeypatch.setattr(
            huggingface_hub.HfApi,
            "list_repo_files",
            lambda *_, **__: [path.name for path in repository.iterdir()],
        )
        monkeypatch.setattr(huggingface_hub.HfApi, "create_commit", self.commit)

    def commit(self, repo_id: str, operations: list[Any], **__: object) -> None:
        assert repo_id == REPOSITORY
        for operation in operations:
            target = self.repository / operation.path_in_repo
            if isinstance(operation, huggingface_hub.CommitOperationDelete):
                target.unlink()
            else:
                with operation.as_file() as file:
                    target.write_bytes(file.read())


@pytest.fixture
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Uploads:
    (tmp_path / "remote").mkdir()
    return Uploads(monkeypatch, tmp_path / "remote")


@pytest.fixture
def own(model_folder: Path, tmp_path: Path) -> Path:
    """A model folder with all it may have, and things that it should not send."""
    folder = Path(shutil.copytree(model_folder, tmp_path / "best"))
    write_beside(folder, "calibration.json", b"{}")
    write_beside(folder, "faithfulness.json", b"{}")
    (folder / "README.md").write_text("# Mine")
    (folder / ".env").write_text("HF_TOKEN=secret")
    (folder / "notes.txt").write_text("private")
    (folder / "pictures").mkdir()
    (folder / "pictures" / "config.json").write_text("private")
    return folder


def test_exactly_the_files_of_a_checkpoint_are_sent(uploads: Uploads, own: Path) -> None:
    send_model(own, REPOSITORY, public=False)
    assert {path.name for path in uploads.repository.iterdir()} == set(FILES)
    for name in FILES:
        assert (uploads.repository / name).read_bytes() == (own / name).read_bytes()


def test_what_an_earlier_model_left_on_the_hub_goes_and_what_is_not_ours_stays(
    uploads: Uploads, model_folder: Path
) -> None:
    (uploads.repository / "calibration.json").write_text("of older weights")
    (uploads.repository / "gallery.png").write_text("the owner's")
    send_model(model_folder, REPOSITORY, public=False)
    there = {path.name for path in uploads.repository.iterdir()}
    assert "calibration.json" not in there
    assert {"gallery.png", "manifest.json"} <= there


@pytest.mark.parametrize("public", [False, True])
def test_a_new_repository_is_private_unless_it_is_to_be_public(
    uploads: Uploads, model_folder: Path, public: bool
) -> None:
    send_model(model_folder, REPOSITORY, public=public)
    assert uploads.created == [{"private": not public, "exist_ok": True}]


@pytest.mark.parametrize("name", ["model.safetensors", "calibration.json", "faithfulness.json"])
def test_a_damaged_model_is_not_sent(uploads: Uploads, own: Path, name: str) -> None:
    (own / name).write_bytes((own / name).read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=f"{name} does not match"):
        send_model(own, REPOSITORY, public=False)
    assert not list(uploads.repository.iterdir())


@pytest.mark.parametrize("name", ["mine", "user/name@v1", "/absolute/path", "a/b/c", "user/na me"])
def test_a_repository_is_called_user_and_name(name: str) -> None:
    with pytest.raises(CaptionerError, match="must be called user/name"):
        check_repository(name)


def test_what_is_sent_is_a_sound_checkpoint(uploads: Uploads, model_folder: Path) -> None:
    send_model(model_folder, REPOSITORY, public=False)
    assert json.loads((uploads.repository / "manifest.json").read_text())
    Captioner.from_pretrained(uploads.repository, device="cpu")


def test_a_model_of_the_hub_is_not_calibrated_in_the_cache(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    built = build(shapes_rows({"validation": 2}, size=32, seed=0), tmp_path / "work", divide=None)
    built.collection.save_to_disk(str(tmp_path / "data"))
    answer = CliRunner().invoke(app, ["calibrate", REPOSITORY, str(tmp_path / "data")], standalone_mode=False)
    assert isinstance(answer.exception, ConfigError)
    assert f"captioner pack {REPOSITORY} --out DIR" in str(answer.exception)
