"""What a run says of itself."""

import pytest
from captioner.pipelines import progress as module
from captioner.pipelines.progress import RunProgress


@pytest.mark.parametrize(("limit", "left"), [(None, 4), (3, 1), (100, 4)])
def test_what_is_left_is_within_the_limit_and_the_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], limit: int | None, left: int
) -> None:
    """Of ten pictures four were done before and two are now: a limit of three leaves one."""
    monkeypatch.setattr(module, "_SECONDS_BETWEEN_LINES", 0.0)
    progress = RunProgress(total=lambda: 10, limit=limit, shown=True)
    for _ in range(4):
        progress.skip()
    while f"6 done, {left} left" not in capsys.readouterr().err:
        progress.add([None, "damaged"] if not progress.answered else [])
    assert progress.summary().startswith("1 picture captioned, 1 not (1 damaged), in 0:00:0")
