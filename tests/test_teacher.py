"""A teacher's words depend on picture, seed and question alone; a model that is no teacher is a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from captioner.errors import CaptionerError, ConfigError
from captioner.inference.teacher import PROMPT, Asking, Teacher
from tests.teachers import WORDS, save_captioning, save_chatting

PICTURES = [Image.new("RGB", (60, 40 + 10 * number), colour) for number, colour in enumerate(["red", "blue", "white"])]
KEYS = [11, 12, 13]
ASKING = Asking(captions=3, max_words=6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_chatting(tmp_path_factory.mktemp("teachers") / "chatting")


@pytest.fixture(scope="module")
def teacher(folder: Path) -> Teacher:
    return Teacher.from_pretrained(str(folder), device="cpu")


def test_answers_are_as_many_as_were_asked_for_and_hold_no_prompt(teacher: Teacher) -> None:
    answers = teacher.answers(PICTURES, KEYS, Asking(prompt="a red dog", captions=4, max_words=6))
    assert [len(each) for each in answers] == [4, 4, 4]
    said = " ".join(" ".join(each) for each in answers).split()
    assert set(said) <= set(WORDS[5:])
    assert not all(answer.startswith("a red dog") for answer in answers[0])


def test_neither_the_order_nor_the_company_of_pictures_changes_their_captions(teacher: Teacher) -> None:
    together = teacher.answers(PICTURES, KEYS, ASKING)
    assert [
        teacher.answers([picture], [key], ASKING)[0] for picture, key in zip(PICTURES, KEYS, strict=True)
    ] == together
    assert teacher.answers(PICTURES[::-1], KEYS[::-1], ASKING) == together[::-1]


def test_the_state_of_other_random_numbers_does_not_matter(teacher: Teacher) -> None:
    torch.manual_seed(1)
    first = teacher.answers(PICTURES[:1], KEYS[:1], ASKING)
    torch.manual_seed(2)
    assert teacher.answers(PICTURES[:1], KEYS[:1], ASKING) == first


def test_another_seed_or_key_draws_other_captions(teacher: Teacher) -> None:
    [first] = teacher.answers(PICTURES[:1], [11], ASKING)
    assert teacher.answers(PICTURES[:1], [11], Asking(captions=3, max_words=6, seed=1)) != [first]
    assert teacher.answers(PICTURES[:1], [12], ASKING) != [first]


def test_a_low_temperature_says_the_likeliest_words_whatever_is_drawn(teacher: Teacher) -> None:
    [answers] = teacher.answers(PICTURES[:1], [11], Asking(captions=4, max_words=6, temperature=1e-6))
    assert len(set(answers)) == 1


def test_words_are_drawn_as_the_model_weighs_them(teacher: Teacher) -> None:
    """The first words of 2,000 captions have the probabilities of the model's own first step."""
    asking = Asking(captions=2000, max_words=2, top_p=1.0)
    [answers] = teacher.answers(PICTURES[:1], [11], asking, most_tokens=1)
    inputs = teacher._inputs(PICTURES[:1], PROMPT)
    with torch.inference_mode():
        expected = teacher._model(**inputs).logits[0, -1].softmax(dim=-1)
    for word in WORDS[5:]:
        share = sum(answer == word for answer in answers) / len(answers)
        assert share == pytest.approx(float(expected[WORDS.index(word)]), abs=0.03)


def test_a_model_that_chats_is_asked_and_one_that_captions_is_not(teacher: Teacher, tmp_path: Path) -> None:
    captioning = Teacher.from_pretrained(str(save_captioning(tmp_path)), device="cpu")
    assert (teacher.prompt(ASKING), captioning.prompt(ASKING)) == (PROMPT, None)
    captioning.rehearse(ASKING)
    answers = captioning.answers(PICTURES, KEYS, ASKING)
    assert [captioning.answers([PICTURES[1]], [12], ASKING)[0]] == answers[1:2]
    assert captioning.prompt(Asking(prompt="a photo of")) == "a photo of"


def test_a_model_without_a_chat_template_is_a_sentence_unless_it_is_asked_in_its_own_form(tmp_path: Path) -> None:
    teacher = Teacher.from_pretrained(str(save_chatting(tmp_path, template=False)), device="cpu")
    with pytest.raises(CaptionerError, match=r"it has no chat template, so give --prompt in its own form"):
        teacher.rehearse(ASKING)
    teacher.rehearse(Asking(prompt="<image> a dog"))


def test_too_little_memory_is_a_sentence(teacher: Teacher, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(teacher._model, "generate", fail)
    with pytest.raises(CaptionerError, match=r"The memory must hold .* ask for fewer --captions"):
        teacher.rehearse(ASKING)


def test_a_model_that_writes_nothing_about_pictures_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(CaptionerError, match=r"must read pictures and write text .* is a bert; name a vision-language"):
        Teacher.from_pretrained(str(tmp_path))


def test_a_model_that_needs_its_own_code_is_a_sentence(tmp_path: Path) -> None:
    code = {"model_type": "mine", "auto_map": {"AutoConfig": "configuring.Mine"}}
    (tmp_path / "config.json").write_text(json.dumps(code))
    (tmp_path / "configuring.py").write_text("raise SystemExit('executed')")
    with pytest.raises(CaptionerError, match="loads without running its repository's code"):
        Teacher.from_pretrained(str(tmp_path))


def test_weights_that_could_execute_are_not_read(folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        if path.suffix != ".safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"no weights")
    with pytest.raises(CaptionerError, match="must be a whole model, with safetensors"):
        Teacher.from_pretrained(str(tmp_path))


def test_a_teacher_that_cannot_be_had_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for called in ("somebody/teacher", str(tmp_path / "nowhere")):
        with pytest.raises(CaptionerError, match=r"none could be had as .* check the name, the network"):
            Teacher.from_pretrained(called)


@pytest.mark.parametrize("wrong", [{"captions": 0}, {"max_words": 1}, {"temperature": 0.0}, {"top_p": 1.5}])
def test_what_cannot_be_asked_is_a_sentence(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        Asking(**wrong)  # type: ignore[arg-type]
