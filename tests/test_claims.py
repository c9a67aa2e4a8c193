"""Claims of a caption that its references contradict."""

from __future__ import annotations

from captioner.text.claims import Contradicted, contradicted


def claims_of(caption: str, *references: str) -> dict[str, Contradicted]:
    return contradicted([caption.split()], [[reference.split() for reference in references]])


def test_a_colour_no_reference_names_is_contradicted_where_they_name_others() -> None:
    told = claims_of("a red dog and a blue ball", "a red dog", "a dog with a green ball")
    assert told["colour"] == Contradicted(claims=2, contradicted=1)
    assert told["colour"].share == 0.5


def test_what_the_references_are_silent_about_is_no_claim() -> None:
    assert claims_of("a red dog", "a dog runs")["colour"] == Contradicted(0, 0)
    assert claims_of("a man runs", "a person runs")["gender"].share == 0.0


def test_a_woman_called_a_man_is_contradicted() -> None:
    assert claims_of("a man runs", "a woman runs", "a girl runs")["gender"] == Contradicted(1, 1)
    assert claims_of("a man runs", "a woman runs", "a boy runs")["gender"] == Contradicted(1, 0)


def test_words_for_the_same_number_agree() -> None:
    assert claims_of("two dogs", "a couple of dogs")["number"] == Contradicted(1, 0)
