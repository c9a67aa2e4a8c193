"""The commands and code that the README shows, for the tests to run."""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def blocks(language: str) -> list[str]:
    """The README's code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


def commands(beginning: str) -> list[str]:
    """The commands of the shell block that begins so, without their comments."""
    [block] = [block for block in blocks("sh") if block.startswith(beginning)]
    return [line.partition(" # ")[0].strip() for line in block.splitlines() if line.strip()]


def run_in(folder: Path, command: str) -> str:
    """What a command of the README prints in `folder`, which gets the recipes; a failure is the test's."""
    if not (folder / "configs").exists():
        shutil.copytree(ROOT / "configs", folder / "configs")
    words = shlex.split(command)
    if words[0] == "captioner":
        words[:1] = [sys.executable, "-m", "captioner.cli"]
    else:
        words[0] = sys.executable
    answer = subprocess.run(words, cwd=folder, capture_output=True, text=True, env={**os.environ, "COLUMNS": "120"})
    assert answer.returncode == 0, f"{command}\n{answer.stderr}"
    return answer.stdout


def layout() -> str:
    """The map of the project: every file with the first line of what it says of itself."""
    lines = []
    for top in ("captioner", "pipelines", "app"):
        for folder in sorted(path.parent for path in (ROOT / top).rglob("__init__.py")):
            lines.append(f"{folder.relative_to(ROOT)}/".ljust(28) + _first_line(folder / "__init__.py"))
            files = [path for path in sorted(folder.glob("*.py")) if path.name != "__init__.py"]
            lines += [f"  {path.name}".ljust(28) + _first_line(path) for path in files]
    lines.append("configs/".ljust(28) + "One recipe a file: the command, what it cost, what it reached.")
    lines.append("tests/".ljust(28) + "One test_<module>.py a module; its names are claims.")
    return "\n".join(lines) + "\n"


def _first_line(path: Path) -> str:
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]
