"""The load test, small: every kind of visitor and file, against a page of a tiny model."""

import json
from pathlib import Path

import pytest

from captioner.data.images import read_image
from captioner.errors import ImageError
from pipelines import load as pipeline
from pipelines.load import _MANNERS, _question, _Tally
from pipelines.sent_pictures import heavy_file, odd_files, sound_pictures
from pipelines.visitor import Reply


def test_sound_pictures_are_read_and_odd_ones_are_not_and_both_are_the_same_every_time() -> None:
    for sent in sound_pictures(3):
        assert min(read_image(sent.data).size) >= 1
    for sent in odd_files(3):
        with pytest.raises(ImageError):
            read_image(sent.data)
    assert sound_pictures(3) == sound_pictures(3) != sound_pictures(4)
    names = [sent.name for sent in [*sound_pictures(3), *odd_files(3), heavy_file()]]
    assert len(set(names)) == len(names)


def test_questions_are_the_same_in_every_run_and_of_every_kind() -> None:
    kinds = sound_pictures(0), odd_files(0), heavy_file()
    asked = [_question(number, 0, *kinds) for number in range(1000)]
    assert asked[:20] == [_question(number, 0, *kinds) for number in range(20)]
    assert {question.manner for question in asked} == set(_MANNERS)
    assert {question.sent.name for question in asked} >= {sent.name for sent in [*kinds[0], *kinds[1], kinds[2]]}


@pytest.mark.parametrize(
    ("reply", "counted"),
    [
        (Reply({"caption": "A dog."}, 200, 1.0), "captioned"),
        (Reply({"caption": "A dog"}, 200, 1.0), "wrong"),
        (Reply("no picture", 200, 1.0), "wrong"),
        (Reply("The page is busy.", 200, 1.0), "told it is busy"),
        (Reply("too large", 413, 1.0), "refused"),
        (Reply("Internal Server Error", 500, 1.0), "failed"),
        (Reply(None, 200, 1.0), "left without an answer"),
    ],
)
def test_every_reply_is_judged_by_the_answer_given_alone(reply: Reply, counted: str) -> None:
    [sent, *_] = sound_pictures(0)
    question = pipeline._Question(sent, 0, "plain")
    tally = _Tally()
    pipeline._judge(tally, question, reply, {question.key: {"caption": "A dog."}})
    assert tally.counts == {counted: 1}
    assert bool(tally.complaints) == (counted in ("wrong", "failed"))


def test_a_page_stands_and_says_the_same_to_everyone(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    even = dict.fromkeys(_MANNERS, 1) | {"plain": 4}
    monkeypatch.setattr(pipeline, "_MANNERS", even)
    monkeypatch.setattr(pipeline, "_ODD", 0.3)
    monkeypatch.setattr(pipeline, "_HEAVY", 0.05)
    out = tmp_path / "load.json"
    pipeline.load(None, requests=50, clients=6, model=model_folder, seed=1, cold=False, out=out)
    figures = json.loads(out.read_text())
    ends = ("captioned", "refused", "left without an answer", "told it is busy")
    assert sum(figures[end] for end in ends) == figures["questions"] == 50
    assert figures["wrong answers"] == figures["failures"] == 0
    assert min(figures[end] for end in ends[:3]) > 3
