"""What a record tells, and the journal that outlives a crash."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from captioner.config import SearchConfig
from captioner.data.listing import Item
from captioner.data.preprocessing import Preprocessing
from captioner.errors import ConfigError, DataError
from captioner.inference.bulk import Captioned
from captioner.inference.caption import Candidate, Caption
from captioner.inference.records import Journal, RecordStyle, Wording, difference, made_by, read_records, to_line
from captioner.text.steering import Steering

ORIGIN = made_by(
    model="m@1",
    preprocessing=Preprocessing(64, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    search=SearchConfig(),
    steering=Steering(forbid=("man",)),
    candidates=1,
)
DOG = Caption(
    (Candidate("A dog.", -2.5, ("a", "dog")),), confidence=0.41234, word_confidences=(None, 0.9), uncertain=False
)


def captioned(name: str, caption: Caption = DOG) -> Captioned:
    return Captioned(Item(name, PurePosixPath(name), Path(name)), caption, "0123456789abcdef")


def test_a_record_tells_the_caption_how_sure_it_is_and_what_made_it() -> None:
    assert RecordStyle({"model": "m@1"}).record(captioned("a.jpg")) == {
        "path": "a.jpg",
        "caption": "A dog.",
        "confidence": 0.4123,
        "uncertain": False,
        "candidates": [{"text": "A dog.", "log_probability": -2.5}],
        "error": None,
        "error_kind": None,
        "digest": "0123456789abcdef",
        "made_by": {"model": "m@1"},
    }


def test_a_record_has_the_same_keys_for_a_caption_and_for_an_error() -> None:
    style = RecordStyle(ORIGIN)
    good = style.record(captioned("a.jpg"))
    bad = style.record(captioned("b.jpg", Caption(error="It is broken.", error_kind="damaged")))
    assert list(good) == list(bad)
    assert (bad["caption"], bad["candidates"], bad["error"], bad["error_kind"]) == (
        None,
        [],
        "It is broken.",
        "damaged",
    )


def test_words_are_told_on_request() -> None:
    words = RecordStyle(ORIGIN, words=True).record(captioned("a.jpg"))["words"]
    assert words == [{"word": "a", "confidence": None}, {"word": "dog", "confidence": 0.9}]


@pytest.mark.parametrize(("least", "told"), [(None, "A dog."), (0.4, "A dog."), (0.42, None)])
def test_a_caption_that_is_not_sure_enough_is_withheld(least: float | None, told: str | None) -> None:
    record = RecordStyle(ORIGIN, min_confidence=least).record(captioned("a.jpg"))
    assert record["caption"] == told
    assert record["error_kind"] == (None if told else "not sure")
    assert record["candidates"], "what was found is kept"


def test_an_uncertain_caption_is_never_sure_enough() -> None:
    caption = Caption(DOG.candidates, uncertain=True)
    assert RecordStyle(ORIGIN, min_confidence=0.1).record(captioned("a.jpg", caption))["caption"] is None


def test_text_is_put_around_a_caption() -> None:
    wording = Wording(prefix="<", suffix=">", template="{folder}/{name}: {caption} {confidence} {{}}")
    assert wording(DOG, "zoo/a.b.jpg") == "<zoo/a.b: A dog. 0.41 {}>"


@pytest.mark.parametrize("template", ["{size}", "{caption", "{0}", "{}", "{caption.text}", "{caption!r:{name}}"])
def test_a_template_that_cannot_be_filled_in_is_one_sentence(template: str) -> None:
    with pytest.raises(ConfigError, match="--template"):
        Wording(template=template)


def test_a_journal_remembers_what_was_done(tmp_path: Path) -> None:
    path, style = tmp_path / "a.jsonl", RecordStyle(ORIGIN)
    journal = Journal(path, already_there="fail")
    assert not journal.done.take("a.jpg")
    journal.append([style.record(captioned("a.jpg")), style.record(captioned("b.jpg", Caption(error="It is broken.")))])
    journal.close()
    again = Journal(path, already_there="skip", origin=ORIGIN)
    assert [again.done.take(name) for name in ("a.jpg", "b.jpg", "c.jpg")] == [True, True, False]
    assert again.done.errors == 1
    again.close()


def test_a_picture_named_twice_is_done_twice(tmp_path: Path) -> None:
    path, style = tmp_path / "a.jsonl", RecordStyle(ORIGIN)
    journal = Journal(path, already_there="fail")
    journal.append([style.record(captioned("a.jpg"))])
    journal.close()
    again = Journal(path, already_there="skip", origin=ORIGIN)
    assert [again.done.take("a.jpg"), again.done.take("a.jpg")] == [True, False]
    again.close()


@pytest.mark.parametrize(
    "name", ["new\nline", "\udcff\udc80", "=cmd", "\u202efdp.jpg", "é", "e\u0301", "\U0001f600", '"']
)
def test_any_name_is_read_back_as_it_was(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.jsonl"
    journal = Journal(path, already_there="fail")
    journal.append([RecordStyle(ORIGIN).record(captioned(name))])
    journal.close()
    assert [record["path"] for record in read_records(path)] == [name]
    again = Journal(path, already_there="skip", origin=ORIGIN)
    assert again.done.take(name)
    again.close()


@pytest.mark.parametrize("end", [b"\n", b""], ids=["whole", "without its end"])
def test_a_journal_that_is_there_is_not_touched_unless_asked(tmp_path: Path, end: bytes) -> None:
    path = tmp_path / "a.jsonl"
    line = to_line(RecordStyle(ORIGIN).record(captioned("a.jpg"))).removesuffix(b"\n")
    path.write_bytes(line + end)
    with pytest.raises(DataError, match="--resume"):
        Journal(path, already_there="fail")
    assert path.read_bytes() == line + end
    Journal(path, already_there="append").close()
    assert path.read_bytes() == line + b"\n"
    Journal(path, already_there="overwrite").close()
    assert path.read_bytes() == b""


@pytest.mark.parametrize("already_there", ["fail", "skip", "append"])
def test_what_is_no_journal_stays_as_it_is(tmp_path: Path, already_there: Any) -> None:
    path = tmp_path / "notes.jsonl"
    path.write_bytes(b"my notes")
    with pytest.raises(DataError):
        Journal(path, already_there=already_there)
    assert path.read_bytes() == b"my notes"


def test_a_last_record_without_its_end_is_kept_and_a_torn_one_done_again(tmp_path: Path) -> None:
    """Editors leave the end out, and a crash may tear a record."""
    path, style = tmp_path / "a.jsonl", RecordStyle(ORIGIN)
    whole = b"".join(to_line(style.record(captioned(name))) for name in ("a.jpg", "b.jpg"))
    path.write_bytes(whole.removesuffix(b"\n"))
    journal = Journal(path, already_there="skip", origin=ORIGIN)
    assert path.read_bytes() == whole
    journal.close()
    path.write_bytes(whole[:-9])
    assert [record["path"] for record in read_records(path)] == ["a.jpg"]
    journal = Journal(path, already_there="skip", origin=ORIGIN)
    assert [journal.done.take(name) for name in ("a.jpg", "b.jpg")] == [True, False]
    journal.close()


def test_a_journal_made_otherwise_is_not_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    journal = Journal(path, already_there="fail")
    journal.append([RecordStyle(ORIGIN).record(captioned("a.jpg"))])
    journal.close()
    other = {**ORIGIN, "search": {**ORIGIN["search"], "beam_width": 3}}
    with pytest.raises(DataError, match=r"search\.beam_width 5, now 3"):
        Journal(path, already_there="skip", origin=other)
    Journal(path, already_there="skip", origin=ORIGIN).close()  # and it is not locked any more


@pytest.mark.parametrize(
    "line",
    ["", "{}", "[]", "no json", '{"path": 3, "caption": null, "made_by": {}}', '{"path": "a", "caption": null}'],
)
def test_a_line_that_is_no_record_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "a.jsonl"
    good = json.dumps(RecordStyle(ORIGIN).record(captioned("a.jpg")))
    path.write_text(f"{good}\n{line}\n")
    with pytest.raises(DataError, match=r"Line 2 of .*a\.jsonl must be a record"):
        list(read_records(path))


def test_a_difference_is_the_first_setting_that_differs() -> None:
    before, now = {"model": "a", "search": {"seed": 0}}, {"model": "b", "search": {"seed": 0}}
    assert difference(before, now) == "model 'a', now 'b'"
