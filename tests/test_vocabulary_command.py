"""`captioner vocabulary`: every word the model can say, and no other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from captioner.text.vocabulary import Vocabulary
from tests.conftest import SENTENCES


def listed(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "captioner.cli", "vocabulary", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_every_word_is_listed_with_its_count_commonest_first(model_folder: Path) -> None:
    answer = listed("--model", model_folder)
    assert answer.returncode == 0
    lines = [line.split() for line in answer.stdout.splitlines()]
    assert lines[0] == ["3", "a"]  # "a brown dog", "a man", "a red bike"
    assert [(word, int(count)) for count, word in lines] == list(Vocabulary.fit(SENTENCES, min_count=1).counts.items())


def test_search_and_limit_choose_among_the_words(model_folder: Path) -> None:
    answer = listed("--model", model_folder, "--search", "R", "--limit", "2")
    assert [line.split()[1] for line in answer.stdout.splitlines()] == ["brown", "children"]


def test_no_word_found_is_said(model_folder: Path) -> None:
    answer = listed("--model", model_folder, "--search", "zebra")
    assert answer.returncode == 0
    assert answer.stdout == ""
    assert answer.stderr == "captioner: No word the model can say holds 'zebra'.\n"
