"""A language without spaces, from its captions to a model that says letters and is judged by letters."""

from __future__ import annotations

from captioner.config import load_config
from captioner.data.rows import Row
from captioner.inference.captioner import Captioner
from captioner.inference.evaluation import evaluate
from captioner.model.captioning import build_model
from captioner.model.checkpoint import save_checkpoint
from captioner.text.steering import Steering
from captioner.text.vocabulary import Vocabulary, normalise
from tests.conftest import tiny_model
from tests.layouts import jpeg

CAPTIONS = ["一只狗在草地上奔跑。", "两只猫坐在椅子上", "小鸟在天上飞"]


def letters() -> Captioner:
    config = load_config(None, ["vocabulary.units=characters"])
    assert config.vocabulary.units == "characters"
    vocabulary = Vocabulary.fit(CAPTIONS, min_count=1, units=config.vocabulary.units)
    return Captioner(build_model(tiny_model().config, vocabulary).eval())


def test_the_model_says_letters_without_spaces_also_after_a_way_to_disk_and_back(tmp_path):
    captioner = letters()
    said = captioner.caption(jpeg(0)).text
    assert said is not None
    assert " " not in said
    assert said.endswith("。")
    assert set(said[:-1]) <= set("".join(CAPTIONS))
    save_checkpoint(captioner.model, tmp_path / "model")
    assert Captioner.from_pretrained(tmp_path / "model").caption(jpeg(0)).text == said


def test_steering_takes_words_of_several_letters():
    said = letters().caption(jpeg(0), steering=Steering(require=("小鸟",), forbid=("草地",))).text
    assert said is not None
    assert "小鸟" in said
    assert "草地" not in said


def test_captions_are_judged_by_letters():
    rows = [Row("test", str(number), jpeg(number), (caption,)) for number, caption in enumerate(CAPTIONS)]
    judged = evaluate(letters(), rows)
    said = sum(len(normalise(picture.caption, "characters")) for picture in judged.scored)
    # 9, 8 and 6 letters; as words of the spaces between them they would be 3.
    assert judged.scores.length_ratio * (9 + 8 + 6) == said
