"""What chat models answer becomes captions: the chat goes, the caption stays as it was written."""

from __future__ import annotations

import pytest

from captioner.text.answers import caption_in, whole_sentences


@pytest.mark.parametrize(
    ("answer", "caption"),
    [
        ("A dog runs.", "A dog runs."),
        ("  A dog\t runs.  ", "A dog runs."),
        ("Sure! Here is a caption for the image:\n\n**A brown dog runs over grass.**", "A brown dog runs over grass."),
        ("Certainly, here's a short description: A dog runs.", "A dog runs."),
        ("Here are five captions for this photo:\n1. A dog runs.\n2. A dog plays.", "A dog runs."),
        ("- *A dog runs.*", "A dog runs."),
        ("### Caption\nA dog runs.", "A dog runs."),
        ("assistant\nA dog runs.", "A dog runs."),
        ("Caption: “A dog runs.”", "A dog runs."),
        ("'A dog runs.'", "A dog runs."),
        ("```\nA dog runs.\n```", "A dog runs."),
        ("<think>A dog? Or a wolf?</think>\nA dog runs.", "A dog runs."),
        ("The image shows a dog running.", "A dog running."),
        ("In this photo, there is a man. He sits.", "A man. He sits."),
        ("图片中有一只狗。", "图片中有一只狗。"),
    ],
)
def test_what_stands_around_a_caption_goes(answer: str, caption: str) -> None:
    assert caption_in(answer) == caption


@pytest.mark.parametrize(
    "caption",
    [
        "Great Danes run.",
        "Here are two dogs: one runs, one sleeps.",
        "A man's dog isn't here.",
        'A sign that says "stop" and "go"',
        "'Stop' is written on the man's sign",
        "3 dogs run.",
        "An okay sign: a hand.",
        "Photo of a dog",
        "2.5 metres of snow",
        "Sorrel horses run.",
    ],
)
def test_what_belongs_to_a_caption_stays(caption: str) -> None:
    assert caption_in(caption) == caption


@pytest.mark.parametrize(
    "answer",
    [
        "",
        " \n ",
        "Sure!",
        "I'm sorry, but I can't see the picture.",
        "As an AI language model, I cannot do that.",
        "Unfortunately, I am unable to.",
        "<think>A dog? Or a",
        "Here is a caption:",
    ],
)
def test_an_answer_without_a_caption_is_empty(answer: str) -> None:
    assert caption_in(answer) == ""


@pytest.mark.parametrize(
    ("caption", "max_words", "kept"),
    [
        ("A dog runs.", 3, "A dog runs."),
        ("A dog runs. It is brown.", 6, "A dog runs. It is brown."),
        ("A dog runs. It is brown.", 5, "A dog runs."),
        ("A dog runs. It is brown.", 2, ""),
        ("A dog runs over grass", 4, ""),
        ("A 2.5 m wall. Grass.", 5, "A 2.5 m wall. Grass."),
        ("狗跑。人走。", 3, "狗跑。"),
    ],
)
def test_a_caption_is_cut_only_behind_a_sentence(caption: str, max_words: int, kept: str) -> None:
    assert whole_sentences(caption, max_words=max_words) == kept
