"""Forbidden words, required words and the beginning as their users meet them: in words, on pictures."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from captioner.pipelines.caption import caption as caption_command

from captioner.config import Config, SearchConfig, from_dict, to_dict
from captioner.errors import ConfigError
from captioner.inference.captioner import Captioner
from captioner.text.steering import Steering
from captioner.text.vocabulary import Vocabulary, normalise
from tests.conftest import SENTENCES

WORDS = Vocabulary.fit(SENTENCES, min_count=1)


@pytest.fixture
def tiny(model_folder: Path) -> Captioner:
    return Captioner.from_pretrained(model_folder, device="cpu")


def test_words_become_ids_as_the_vocabulary_spells_them() -> None:
    rules = Steering(forbid=("Dog!", "red bike"), require=("GREEN grass",), beginning="A man").rules(WORDS)
    assert rules.forbidden == (tuple(WORDS.encode("dog")), tuple(WORDS.encode("red bike")))
    assert rules.required == (tuple(WORDS.encode("green grass")),)
    assert rules.beginning == tuple(WORDS.encode("a man"))


def test_a_forbidden_word_the_model_does_not_know_needs_no_rule_and_is_mentioned() -> None:
    steering = Steering(forbid=("zebra", "bik", "green zebra"))
    assert steering.rules(WORDS).forbidden == ()
    told = steering.needless(WORDS)
    assert len(told) == 3
    assert "'bik'" in told[1]
    assert "bike" in told[1]


@pytest.mark.parametrize(
    ("steering", "sentence"),
    [
        (Steering(require=("brwn dog",)), "must say 'brwn', but the model does not know this word; near it: brown"),
        (
            Steering(beginning="the xylophone"),
            "'xylophone', but the model does not know this word; `captioner vocabulary`",
        ),
        (Steering(require=("red bike",), forbid=("Bike",)), "'red bike' is required, but 'bike' is forbidden"),
        (
            Steering(beginning="a man rides", forbid=("a man",)),
            "'a man rides' is the beginning, but 'a man' is forbidden",
        ),
        (Steering(require=("?!",)), "must hold a word, but '\\?!' came"),
        (Steering(beginning=""), "must hold a word, but '' came"),
    ],
)
def test_a_mistake_is_one_sentence(steering: Steering, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        steering.rules(WORDS)


@pytest.mark.parametrize("settings", [{}, {"beam_width": 1}, {"beam_width": 4, "groups": 2}, {"method": "sample"}])
def test_steering_is_obeyed_on_pictures(tiny: Captioner, pictures: list[Path], settings: dict[str, object]) -> None:
    search = replace(tiny.search, **settings)
    for caption in tiny.caption(pictures, search=search):
        free = normalise(str(caption.text))
        steering = Steering(forbid=(free[-1],), require=("red bike",), beginning="two children")
        if free[-1] in ("red", "bike", "two", "children"):
            steering = replace(steering, forbid=())
        for steered in tiny.caption(pictures, search=search, steering=steering):
            for candidate in steered.candidates:
                assert candidate.words[:2] == ("two", "children")
                assert " red bike" in " ".join(candidate.words)
                assert not set(steering.forbid) & set(candidate.words)


def test_what_must_be_said_and_does_not_fit_is_one_sentence(tiny: Captioner, pictures: list[Path]) -> None:
    too_much = Steering(require=("a brown dog runs over green", "two children play"))
    with pytest.raises(ConfigError, match="takes at least 9 words, but max_length is 8"):
        tiny.caption(pictures, steering=too_much)


def test_sampled_captions_stay_with_their_pictures(tiny: Captioner, pictures: list[Path]) -> None:
    search = replace(tiny.search, method="sample", temperature=3.0, seed=5)
    together = [caption.text for caption in tiny.caption_each(pictures, search=search, batch_size=5)]
    assert [caption.text for caption in tiny.caption_each(pictures, search=search, batch_size=2)] == together
    assert [caption.text for caption in tiny.caption_each(reversed(pictures), search=search)] == together[::-1]
    assert tiny.caption(pictures[2], search=search).text == together[2]
    assert len(set(together)) > 1
    assert len(tiny.caption(pictures[0], search=search, candidates=7).candidates) == 7
    other = [caption.text for caption in tiny.caption_each(pictures, search=replace(search, seed=6))]
    assert other != together


def test_settings_stored_before_these_options_mean_a_plain_beam_search() -> None:
    options = ("groups", "diversity", "method", "temperature", "top_k", "top_p", "seed")
    stored = to_dict(Config())
    stored["search"] = {name: value for name, value in stored["search"].items() if name not in options}
    search = from_dict(Config, json.loads(json.dumps(stored))).search
    assert search == SearchConfig()
    assert (search.groups, search.method) == (1, "beam")
    assert {field.name for field in dataclasses.fields(SearchConfig)} >= set(options)


def test_the_command_takes_every_option(
    model_folder: Path, pictures: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    caption_command(
        [pictures[0]], model=model_folder, forbid=["dog", "two children"], require=["red bike"], beginning="a man",
        min_length=5, max_length=7, length_exponent=0.5, no_repeat_ngram=2, groups=2, beam_width=4, diversity=1.0,
    )  # fmt: skip
    words = normalise(capsys.readouterr().out.partition(": ")[2])
    assert words[:2] == ["a", "man"]
    assert "red bike" in " ".join(words)
    assert 5 <= len(words) <= 7
    for _ in range(2):
        caption_command(
            [pictures[0]], model=model_folder, temperature=0.8, top_k=5, top_p=0.9, seed=3, require=["bike"]
        )
    first, second = capsys.readouterr().out.splitlines()
    assert first == second
    assert "bike" in normalise(first)


def test_fewer_words_than_the_stored_minimum_can_be_asked_for(
    model_folder: Path, pictures: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    caption_command([pictures[0]], model=model_folder, max_length=2)
    assert len(normalise(capsys.readouterr().out.partition(": ")[2])) <= 2


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"require": ["dog"], "forbid": ["dog"]}, "drop one of them"),
        ({"groups": 2}, "divide the beam evenly"),
        ({"seed": 2, "beam_width": 2}, r"\(--seed\) or searched for \(--beam-width\)"),
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"top_p": float("nan")}, "top_p above 0"),
        ({"diversity": float("nan")}, "must be a finite number"),
        ({"beginning": "a man", "max_length": 1}, "takes at least 2 words"),
    ],
)
def test_options_that_contradict_each_other_are_one_sentence(
    model_folder: Path, pictures: list[Path], options: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        caption_command([pictures[0]], model=model_folder, **options)


def test_a_mistake_does_not_cost_the_captions_already_written(
    model_folder: Path, pictures: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "captions.jsonl"
    out.write_text("precious")
    with pytest.raises(ConfigError):
        caption_command([pictures[0]], model=model_folder, out=out, require=["zebra"])
    assert out.read_text() == "precious"


def test_a_mistake_on_the_command_line_has_no_traceback(model_folder: Path, pictures: list[Path]) -> None:
    command = [sys.executable, "-m", "captioner.cli", "caption", pictures[0], "--model", model_folder]
    options = ["--require", "zebra", "--forbid", "dog"]
    answer = subprocess.run([*command, *options], capture_output=True, text=True, timeout=120)
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert len(answer.stderr.splitlines()) == 1
    assert answer.stderr.startswith("captioner: The caption must say 'zebra'")
