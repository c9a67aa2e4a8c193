"""The house stands on its floors: a file imports only from lower floors and from its own folder."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

FLOORS = {
    "captioner": -3,  # __init__: names only
    "captioner.errors": -2,
    "captioner.durable": -1,
    "captioner.interruption": -1,
    "captioner.config": -1,
    "captioner.text": 0,
    "captioner.search": 0,
    "captioner.pretrained": 0,
    "captioner.data": 1,
    "captioner.model": 2,
    "captioner.training": 3,
    "captioner.inference": 4,
    "captioner.pipelines": 5,
    "captioner.app": 5,
    "captioner.cli": 6,
}

FILES = [path for folder in ("captioner", "pipelines", "app") for path in sorted((ROOT / folder).rglob("*.py"))]


def module_of(path: Path) -> str:
    """The name a file has once installed: `pipelines` and `app` live inside `captioner` there."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    name = ".".join(parts if parts[0] == "captioner" else ("captioner", *parts))
    return name.removesuffix(".__init__")


def home(module: str) -> str:
    """The entry of FLOORS a module belongs to."""
    name = module
    while name not in FLOORS:
        name = name.rpartition(".")[0]
    return name


def imported(path: Path) -> Iterator[str]:
    """Every module of ours that a file imports, wherever in the file."""
    module = module_of(path)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            names = [".".join(filter(None, [base, node.module]))]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] in ("captioner", "pipelines", "app"))


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_a_file_imports_only_from_lower_floors_and_its_own_folder(path: Path) -> None:
    own = home(module_of(path))
    for name in imported(path):
        other = home(name)
        # The page is started by a command like any other, so it borrows the way the scripts run theirs.
        assert other == own or FLOORS[other] < FLOORS[own] or name == "captioner.pipelines", f"{own} imports {name}"
        assert not (FLOORS[own] < 5 and name.split(".")[0] in ("pipelines", "app"))


def test_the_library_does_not_print() -> None:
    for path in FILES:
        if path.relative_to(ROOT).parts[0] != "captioner":
            continue
        calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        assert not any(isinstance(call, ast.Name) and call.id == "print" for call in calls), f"{path} prints"


def test_no_module_is_called_like_a_library_we_use() -> None:
    taken = {"datasets", "torch", "timm", "nltk", "gradio", "transformers", "utils", "helpers", "common"}
    assert not taken & {path.stem for path in FILES}
