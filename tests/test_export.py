"""Exported models: the same captions, confidence and explanations, computed by ONNX Runtime."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from captioner.config import SearchConfig
from captioner.errors import CheckpointError, ConfigError, DataError
from captioner.inference.captioner import Captioner
from captioner.inference.faithfulness import attention_faithfulness
from captioner.model.captioning import CaptioningModel
from captioner.model.checkpoint import load_checkpoint, read_beside, write_beside
from captioner.model.decoder import build_decoder
from captioner.model.efficientnet_lite import StridingConvolution
from captioner.model.encoder import Encoder
from captioner.model.export import decoder_graphs, encoder_graph, export
from captioner.model.onnx_model import ENCODER, START, STEP, OnnxDecoder
from captioner.model.quantisation import quantise_encoder
from pipelines import export as pipeline
from tests.conftest import tiny_model

onnxruntime = pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
pytest.importorskip("onnxscript", reason="the extra `onnx` is not installed")


@pytest.fixture(scope="module")
def small() -> CaptioningModel:
    """A captioner whose CNN has two layers, since tracing a real one takes the exporter long."""
    model = tiny_model()
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Conv2d(3, 64, 8, stride=8), torch.nn.ReLU(), torch.nn.Conv2d(64, 32, 4, 4))
    encoder = Encoder(layers, model.encoder.preprocessing)
    decoder = build_decoder(model.config.decoder, feature_size=32, vocabulary_size=len(model.vocabulary))
    return CaptioningModel(encoder, decoder, model.vocabulary, model.config).eval()


@pytest.fixture(scope="module")
def exported(small: CaptioningModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "small"
    assert export(small, out, beside={"notes.txt": b"measured"})["notes.txt"] == 8
    return out


def test_a_cnn_that_pads_from_side_to_side_can_be_exported_and_sees_the_same() -> None:
    """So many channels as make ONNX Runtime try to improve on it."""
    torch.manual_seed(0)
    layers = torch.nn.Sequential(
        torch.nn.Conv2d(3, 512, 4, stride=4),
        StridingConvolution(512, 512, 5, stride=2, padding=2, groups=512, bias=False),
        torch.nn.BatchNorm2d(512),
    )
    encoder = Encoder(layers, tiny_model().encoder.preprocessing)
    session = onnxruntime.InferenceSession(encoder_graph(encoder))
    pixels = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    [features] = session.run(None, {"pixels": pixels.numpy()})
    with torch.inference_mode():
        torch.testing.assert_close(torch.from_numpy(features), encoder(pixels), rtol=1e-3, atol=1e-4)


DECODERS = [
    {"cell": "gru", "sentinel": False},
    {"kind": "show_and_tell", "cell": "rnn", "sentinel": False},
    {"kind": "top_down", "sentinel": False},
]


@pytest.mark.parametrize("settings", DECODERS, ids=["gru", "show_and_tell", "top_down"])
def test_every_decoder_says_what_it_said_however_many_pictures_and_rows(settings: dict[str, object]) -> None:
    model = tiny_model(**settings)
    graphs = decoder_graphs(model)
    sessions = (onnxruntime.InferenceSession(graphs[name]) for name in (START, STEP))
    decoder = OnnxDecoder(*sessions, speaking_cell=model.decoder.speaking_cell)
    other = CaptioningModel(model.encoder, decoder, model.vocabulary, model.config).eval()  # type: ignore[arg-type]
    for pictures in (1, 3):
        features = torch.rand(pictures, model.encoder.regions, model.encoder.feature_size)
        for settings_of_search in (SearchConfig(beam_width=4, max_length=6), SearchConfig(beam_width=1, max_length=5)):
            found, wanted = (each.search(features, settings_of_search, best=1) for each in (other, model))
            assert [caption.words for [caption] in found] == [caption.words for [caption] in wanted]
            assert [caption.log_probability for [caption] in found] == pytest.approx(
                [caption.log_probability for [caption] in wanted], abs=1e-4
            )
    said = wanted[0][0].words
    traces = [each.trace(features[0], said) for each in (other, model)]
    assert torch.allclose(traces[0].memory, traces[1].memory, atol=1e-5)
    for mine, its in zip(traces[0].gates[0], traces[1].gates[0], strict=True):
        assert (mine is None) == (its is None)
        assert mine is None or torch.allclose(mine, its, atol=1e-5)
    watches = [each.watch() for each in (other, model)]
    for each, watch in zip((other, model), watches, strict=True):
        each.search(features, settings_of_search, watch=watch)
    for mine, its in zip(*(watch.choices(0, said) for watch in watches), strict=True):
        assert torch.allclose(mine, its, atol=1e-4)


def test_an_exported_model_captions_and_explains_as_the_model_does(
    exported: Path, small: CaptioningModel, pictures: list[Path]
) -> None:
    theirs, ours = Captioner(small), Captioner.from_pretrained(exported, device="cpu")
    assert [c.text for c in ours.caption(list(pictures))] == [c.text for c in theirs.caption(list(pictures))]
    mine, its = (captioner.explain(pictures[0]) for captioner in (ours, theirs))
    assert [word.probability for word in mine.words] == pytest.approx(
        [word.probability for word in its.words], abs=1e-4
    )
    assert ours.name.startswith("small@")
    mirrored = replace(ours.search, mirror=True)
    mine, its = (captioner.caption(list(pictures), search=mirrored) for captioner in (ours, theirs))
    assert [caption.candidates[0].log_probability for caption in mine] == pytest.approx(
        [caption.candidates[0].log_probability for caption in its], abs=1e-3
    )
    assert ours.model.encoder.fingerprint() != theirs.model.encoder.fingerprint()  # the last digits differ
    assert ours.model.encoder.fingerprint() == Captioner.from_pretrained(exported).model.encoder.fingerprint()


def test_an_encoder_in_eight_bits_is_smaller_and_sees_nearly_the_same(
    exported: Path, small: CaptioningModel, pictures: list[Path], tmp_path: Path
) -> None:
    read = small.encoder.preprocessing.read
    graph = (exported / ENCODER).read_bytes()
    rounded = quantise_encoder(graph, [read(path) for path in pictures[:3]])
    assert len(rounded) < 0.5 * len(graph)
    pixels = np.stack([read(path) for path in pictures])
    seen, exact = (onnxruntime.InferenceSession(each).run(None, {"pixels": pixels})[0] for each in (rounded, graph))
    error = np.linalg.norm(seen - exact) / np.linalg.norm(exact)
    assert 0 < error < 0.05


def test_ranges_are_measured_on_the_first_pictures_that_can_be_read(
    pictures: list[Path], small: CaptioningModel
) -> None:
    (pictures[0].parent / "broken.png").write_bytes(b"not a picture")
    read = small.encoder.preprocessing
    assert len(pipeline.read_some(read, pictures[0].parent, 3)) == 3
    assert len(pipeline.read_some(read, pictures[0].parent, 9)) == len(pictures)
    with pytest.raises(DataError, match=r"none in .* can be read"):
        pipeline.read_some(read, pictures[0].parent / "broken.png", 3)


def test_a_calibration_can_be_stored_in_an_exported_model_but_not_in_a_damaged_one(
    exported: Path, tmp_path: Path
) -> None:
    copied = Path(shutil.copytree(exported, tmp_path / "copied"))
    write_beside(copied, "more.txt", b"measured anew")
    assert read_beside(copied, "more.txt") == b"measured anew"
    write_beside(copied, "more.txt", b"measured again")
    assert read_beside(copied, "more.txt") == b"measured again"
    (copied / STEP).write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"step\.onnx does not match"):
        write_beside(copied, "more.txt", b"measured once more")


def test_what_needs_weights_refuses_an_exported_model(exported: Path) -> None:
    with pytest.raises(CheckpointError, match="holds an exported one; name the model it was made from"):
        load_checkpoint(exported)


def test_a_damaged_graph_is_told(exported: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(exported, tmp_path / "broken"))
    (broken / STEP).write_bytes((exported / STEP).read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"step\.onnx does not match the SHA-256"):
        Captioner.from_pretrained(broken)
    (broken / STEP).unlink()
    with pytest.raises(CheckpointError, match=r"step\.onnx"):
        Captioner.from_pretrained(broken)


def test_a_folder_with_other_things_is_left_alone(small: CaptioningModel, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("precious")
    with pytest.raises(CheckpointError, match="exported to a new folder"):
        export(small, tmp_path, beside={})
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_whether_the_attention_of_an_exported_model_tells_the_truth_can_be_measured(
    exported: Path, small: CaptioningModel
) -> None:
    rng = np.random.default_rng(0)
    pictures = list(rng.integers(0, 256, (4, 64, 64, 3), dtype=np.uint8))
    ours, theirs = (
        attention_faithfulness(captioner, pictures, regions_deleted=1, draws=2)
        for captioner in (Captioner.from_pretrained(exported, device="cpu"), Captioner(small))
    )
    assert ours.attended_fall.mean == pytest.approx(theirs.attended_fall.mean, abs=1e-3)


def test_exporting_again_replaces_the_model_and_keeps_its_card(small: CaptioningModel, tmp_path: Path) -> None:
    export(small, tmp_path, beside={"more.txt": b"of the model before"})
    (tmp_path / "README.md").write_text("the card")
    export(small, tmp_path, beside={})
    assert (tmp_path / "README.md").read_text() == "the card"
    assert not (tmp_path / "more.txt").exists()


def test_without_the_extra_it_is_named(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r"onnxruntime, which is not installed; pip install 'captioner\[onnx\]'"):
        Captioner.from_pretrained(exported)
