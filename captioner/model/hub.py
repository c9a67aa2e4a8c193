"""Models of the Hugging Face hub, `user/name`: where a model is found by what the user calls it, and how one is sent.

Only the files of a checkpoint go there and come from there, by name, and each is checked against the manifest where it
is read: what anyone else put into a repository is never downloaded, let alone run. huggingface_hub's own mixin is not
used because it writes a config.json of its own and knows neither vocabulary nor manifest.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import captioner
import captioner.pretrained
from captioner.errors import CaptionerError, CheckpointError

SHIPPED = "default"
"""What the shipped model is called."""

_MEASURED = ("calibration.json", "faithfulness.json")

FILES = ("README.md", "config.json", "vocabulary.json", "model.safetensors", *_MEASURED, "manifest.json")
"""All that a model on the hub may consist of."""

_WORD = r"[A-Za-z0-9](?:[\w.-]{0,94}[A-Za-z0-9_])?"
_REPOSITORY = re.compile(rf"(?P<name>{_WORD}/{_WORD})(?:@(?P<revision>[\w./-]+))?", re.ASCII)


class FoundModel(NamedTuple):
    """A model that was found by what the user calls it."""

    folder: Path
    name: str
    """What records call it."""
    downloaded: bool
    """Whether its folder is the cache of the hub, which nothing should be written to."""


def find_model(called: str | Path | FoundModel | None) -> FoundModel:
    """The model in a folder, the shipped one (None or `default`), or one of the hub: `user/name`, `user/name@revision`.

    A folder that is there comes first, and where there is a folder `user` the hub is not asked for `user/name`. What
    was downloaded before is used without a network. Raises CheckpointError when the hub has no such model or cannot be
    reached; whether the folder holds a sound model, `load_checkpoint` tells.
    """
    if isinstance(called, FoundModel):
        return called
    if called is None or str(called) == SHIPPED:
        return FoundModel(Path(captioner.pretrained.__file__).parent, SHIPPED, downloaded=False)
    folder = Path(called)
    repository = _REPOSITORY.fullmatch(folder.as_posix())
    if repository is None or folder.exists() or folder.parent.exists():
        return FoundModel(folder, folder.resolve().name, downloaded=False)
    return FoundModel(_download(repository["name"], repository["revision"]), repository["name"], downloaded=True)


def split_revision(called: str) -> tuple[str, str | None]:
    """(`user/name`, revision) of what may be a model of the hub; a path is returned as it is, with None."""
    repository = None if Path(called).exists() else _REPOSITORY.fullmatch(called)
    return (called, None) if repository is None else (repository["name"], repository["revision"])


def check_repository(name: str) -> None:
    """Raise CaptionerError unless a repository of the hub could be called so."""
    if "@" in name or not _REPOSITORY.fullmatch(name):
        raise CaptionerError(f"A repository of the hub must be called user/name, but {name!r} came.")


def send_model(folder: Path, repository: str, *, public: bool) -> str:
    """Send the checkpoint in `folder` to `repository` of the hub, which is made if there is none -> its address.

    Exactly `FILES` are sent, in one commit, and those of them that the repository has and the folder has not are taken
    away there. A repository that is there stays private or public as it is. The token is the one that `hf auth login`
    stored, or HF_TOKEN. Raises CheckpointError when the checkpoint is not sound, CaptionerError when the hub does not
    take it.
    """
    import huggingface_hub

    # Here, since a model must be found before PyTorch is imported.
    from captioner.model.checkpoint import load_checkpoint, read_beside

    load_checkpoint(folder)
    for name in _MEASURED:
        read_beside(folder, name)
    present = [name for name in FILES if (folder / name).is_file()]
    hub = huggingface_hub.HfApi(library_name="captioner", library_version=captioner.__version__)
    try:
        hub.create_repo(repository, private=not public, exist_ok=True)
        outdated = [name for name in hub.list_repo_files(repository) if name in FILES and name not in present]
        hub.create_commit(
            repository,
            [
                *(huggingface_hub.CommitOperationAdd(name, folder / name) for name in present),
                *(huggingface_hub.CommitOperationDelete(name) for name in outdated),
            ],
            commit_message=f"Sent by captioner {captioner.__version__}",
        )
    except Exception as error:  # a network can fail in more ways than anyone lists
        raise CaptionerError(
            f"{repository} must be a repository that this machine can reach and you may write to, but "
            f"{_reason(error, writing=True)}."
        ) from error
    return f"{hub.endpoint}/{repository}"


def _download(repository: str, revision: str | None) -> Path:
    import huggingface_hub

    try:
        return Path(
            huggingface_hub.snapshot_download(
                repository,
                revision=revision,
                allow_patterns=list(FILES),
                library_name="captioner",
                library_version=captioner.__version__,
            )
        )
    except Exception as error:
        raise CheckpointError(
            f"{repository} must be a model folder or a model that the Hugging Face hub has, but there is no such "
            f"folder, and {_reason(error, writing=False)}."
        ) from error


def _reason(error: Exception, *, writing: bool) -> str:
    """Why the hub did not give or take, and what to do, to be read after "but"."""
    from huggingface_hub import errors

    if isinstance(error, errors.LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # what kept the client from the network
    log_in = "log in with `hf auth login` or set HF_TOKEN"
    status = error.response.status_code if isinstance(error, errors.HfHubHTTPError) else None
    if isinstance(error, errors.RevisionNotFoundError):
        return "that repository has no such revision; check what follows the @"
    if isinstance(error, errors.GatedRepoError):
        return f"its owner gives it only to those who asked; ask on its page, then {log_in}"
    if isinstance(error, errors.LocalTokenNotFoundError) or (writing and status == 401):
        return f"no valid token was found; {log_in}"
    if status == 403:
        return "your token does not permit it; use one that does" if writing else f"access is refused; {log_in}"
    if isinstance(error, errors.RepositoryNotFoundError) or status in (401, 404):
        return f"the hub shows you no such repository; check the name, and if it is private {log_in}"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE keeps this program from the network; unset it"
    if isinstance(error, errors.HTTPError | ConnectionError) and status is None:  # type: ignore[attr-defined]
        missing = "" if writing else ", nor was it downloaded before"
        return f"the hub cannot be reached{missing}; check the network"
    words = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    return f"that failed ({words}); check the name and try again"
