"""The 24 pictures of a model's card."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.showcase import showcase


def test_each_of_the_24_pictures_is_shown_with_what_the_model_says(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("skimage")
    pytest.importorskip("sklearn")
    showcase(str(model_folder), tmp_path / "out")
    table = (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    assert len({name for name, *_ in rows}) == len(rows) == 24
    assert all(caption.endswith(".") for *_, caption, _ in rows)
    assert (tmp_path / "out" / "index.html").read_text(encoding="utf-8").count('<img src="data:image/jpeg') == 24
    assert table in capsys.readouterr().out
