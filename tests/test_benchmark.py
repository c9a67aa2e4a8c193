"""The benchmark times contestants in turn, each in a process of its own, and tells ratios."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from captioner.errors import CaptionerError, ConfigError, DataError
from captioner.inference.captioner import Captioner
from captioner.model.captioning import CaptioningModel
from captioner.model.checkpoint import save_checkpoint
from captioner.text.vocabulary import Vocabulary
from pipelines.benchmark import Section, _chosen, benchmark
from pipelines.benchmarks.contestant import Contestant
from pipelines.benchmarks.figures import Figure, exponent, figure, paired, percentile, take_turns, worst
from pipelines.benchmarks.latency import _joules
from pipelines.benchmarks.plot import draw
from pipelines.benchmarks.search_options import _rules
from tests.conftest import tiny_model


def test_a_section_alone_is_told_and_kept(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.benchmark._PICTURES", 2)
    benchmark(str(model_folder), only=[Section.STAGES], rounds=1, threads=1, data=None, out=tmp_path / "out")
    told = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    stages = told["sections"]["stages"]
    assert [each["name"] for each in stages] == ["open", "decode", "preprocess", "CNN", "search, confidence", "write"]
    assert sum(each["value"] for each in stages) == pytest.approx(1)
    assert told["machine"]["threads"] == 1
    assert "ms a picture" in "".join(ElementTree.parse(tmp_path / "out" / "benchmark.svg").getroot().itertext())
    assert "preprocess" in capsys.readouterr().out


def test_what_stops_a_contestant_is_told_as_its_sentence() -> None:
    with pytest.raises(CaptionerError, match="no such model"):
        Contestant("stages:in_turn", threads=1, model="no such model", pictures=[])


def test_a_folder_that_cannot_be_made_is_told_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="--out must be a folder that can be made"):
        benchmark(None, out=tmp_path / "file" / "out")


def test_an_exported_model_is_refused_where_it_cannot_be_measured(tmp_path: Path) -> None:
    (tmp_path / "onnx.json").touch()
    with pytest.raises(ConfigError, match="--only peers --only stages --only latency --only search_options"):
        benchmark(str(tmp_path), only=[Section.SEARCH], rounds=1, threads=1, data=None, out=None)


def test_a_decoder_without_a_textbook_is_refused_at_once(tmp_path: Path) -> None:
    save_checkpoint(tiny_model(cell="gru"), tmp_path / "gru")
    with pytest.raises(ConfigError, match=r"this model has attend, gru, .* --only peers --only limits --only stages"):
        benchmark(str(tmp_path / "gru"), only=None, rounds=1, threads=1, data=None, out=None)
    assert _chosen([Section.PEERS], str(tmp_path / "gru")) == [Section.PEERS]


def test_every_rule_is_timed_or_told_to_be_left_out(model: CaptioningModel) -> None:
    """The tiny model knows grass, but no ball, and too few words to forbid 200."""
    assert set(_rules(Captioner(model)).values()) == {None}
    words = ["two", "dogs", "grass", "ball", "in", "front", "of", "the"]  # but no snow
    vocabulary = Vocabulary([(word, 1) for word in [*words, *map("word{}".format, range(300))]])
    rules = _rules(Captioner(CaptioningModel(model.encoder, model.decoder, vocabulary, model.config)))
    assert [name for name, rule in rules.items() if rule is None] == ["a phrase of 3 words required"]
    forbidden = rules["200 words forbidden"]
    assert forbidden is not None
    assert len(forbidden.forbidden) == 200


def test_one_wrong_round_is_the_worst_of_them_all() -> None:
    assert not worst("right", [1.0, 0.5, 1.0], at_least=1.0).met
    assert worst("right", [1.0, 1.0], at_least=1.0).met


def test_energy_is_that_of_whole_processors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.benchmarks.latency._COUNTERS", tmp_path)
    assert _joules() is None
    for number, (name, counted) in enumerate([("package-0", 3_000_000), ("psys", 9_000_000), ("package-1", 500_000)]):
        folder = tmp_path / f"intel-rapl:{number}"
        folder.mkdir()
        (folder / "name").write_text(f"{name}\n")
        (folder / "energy_uj").write_text(f"{counted}\n")
    assert _joules() == 3.5


def test_more_threads_than_processors_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"--threads must be at most \d+, the processors here, but 100000 came"):
        benchmark(None, only=[Section.STAGES], rounds=1, threads=100_000, data=None, out=None)


def test_laps_take_turns_after_those_that_are_cold_ran_once() -> None:
    order: list[str] = []

    def lap(name: str) -> int:
        order.append(name)
        return len(order)

    answers = take_turns({"a": lambda: lap("a"), "b": lambda: lap("b"), "c": lambda: lap("c")}, rounds=2, warm=["b"])
    assert order == ["a", "c", *"abc", *"abc"]
    assert answers == {"a": [3, 6], "b": [4, 7], "c": [5, 8]}


def test_a_ratio_is_the_median_of_the_rounds_own_ratios() -> None:
    ratio = figure("ratio", paired([10.0, 40.0, 90.0], [1.0, 2.0, 3.0]), "times", at_least=25.0)
    assert (ratio.low, ratio.value, ratio.high, ratio.met) == (10.0, 20.0, 30.0, False)


def test_a_bar_is_met_when_it_is_just_reached_and_none_is_met_without_a_value() -> None:
    assert Figure("fast", 12.0, "times", at_least=12.0).met
    assert Figure("small", 1.1, "times", at_most=1.1).met
    assert not Figure("large", 1.2, "times", at_most=1.1).met
    assert Figure("energy", None, "J", at_most=1.0).met is None
    assert Figure("rate", 3.0, "pictures/s").met is None


def test_the_exponent_is_that_of_the_larger_sizes() -> None:
    small = [(1.0, 9.0), (2.0, 9.0)]
    grown = exponent("squares", [*small, *((size, size**2) for size in (4.0, 8.0, 16.0, 32.0))], at_most=1.1)
    assert grown.value == pytest.approx(2.0)
    assert not grown.met


def test_percentiles_are_values_that_were_measured() -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], 50) == 2.0
    assert percentile(list(map(float, range(1, 21))), 95) == 19.0


def test_the_plot_shows_ratios_with_their_bars_and_growth_with_its_exponent() -> None:
    ratio = Figure("BLIP <base>", 150.0, "times", 140.0, 160.0, at_least=120.0)
    growth = exponent("pictures", [(1.0, 1.0), (2.0, 2.0), (4.0, 4.0), (8.0, 8.0)], at_most=1.1)
    text = " ".join(ElementTree.fromstring(draw({"peers": [ratio], "growth": [growth]})).itertext())
    assert "BLIP <base>" in text
    assert "150 (at least 120)" in text
    assert "pictures 1.00" in " ".join(text.split())
    ElementTree.fromstring(draw({}))
