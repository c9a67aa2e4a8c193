"""Learning to see what a teacher sees: its error falls, only training knows of it, and a run goes on alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from captioner.data.features import RegionFeatures
from captioner.data.views import Views
from captioner.errors import ConfigError, TrainingError
from captioner.model.captioning import CaptioningModel
from captioner.model.checkpoint import load_checkpoint
from captioner.model.last_blocks import split_encoder
from captioner.training.distillation import Distillation
from captioner.training.loop import fit
from tests.training import begin, evaluations, losses, model_to_train, some_pictures, train

SIZE = 8


def teacher_of(pictures: int, regions: int) -> RegionFeatures:
    """What it sees of pictures of three kinds (see `some_pictures`), in numbers of very unlike sizes."""
    random = np.random.default_rng(pictures)
    kinds, noise = random.normal(size=(3, SIZE)), random.normal(size=(pictures, 2, regions + 1, SIZE))
    features = (kinds[np.arange(pictures) % 3, None, None] + noise / 10) * 10.0 ** np.linspace(-1, 4, SIZE)
    return RegionFeatures([features.astype(np.float16)], Views(mirrored=True))


def model_to_teach(**settings: object) -> CaptioningModel:
    given = {"tuned_blocks": 2, "encoder_learning_rate": 0.003, "epochs": 2, "teacher": "a test's"}
    return model_to_train(**{**given, **settings})


def mean_loss(model: CaptioningModel, distillation: Distillation, teacher: RegionFeatures) -> float:
    """Over all the training pictures, each as a whole."""
    pictures = some_pictures(model, 22, 2).features
    numbers = np.arange(22)
    with torch.inference_mode():
        seen = split_encoder(model.encoder, 2).last(torch.from_numpy(pictures.read(numbers)))
        return float(distillation(seen, torch.from_numpy(teacher.read(numbers))).mean())


def test_of_a_teacher_nothing_is_told_by_zeros_and_all_by_its_own_features() -> None:
    teacher = teacher_of(500, regions=3)
    targets = torch.from_numpy(teacher.read(np.arange(500)))
    distillation = Distillation(SIZE, teacher)
    for layer in (distillation.region, distillation.whole):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    assert float(distillation(torch.zeros(500, 3, SIZE), targets).mean().detach()) == pytest.approx(2, abs=0.02)
    same = targets[:, :1].expand(-1, 4, -1)  # every region and the whole see alike, and the pupil sees it, too
    with torch.no_grad():
        for number, layer in enumerate((distillation.region, distillation.whole)):
            layer.weight.copy_(torch.diag(1 / distillation.deviation[number]))
            layer.bias.copy_(-distillation.mean[number] / distillation.deviation[number])
    assert distillation(same[:, :3], same).detach().numpy() == pytest.approx(np.zeros(500), abs=1e-6)


def test_the_last_blocks_learn_from_the_teacher_even_where_captions_teach_nothing(tmp_path: Path) -> None:
    """The linear layers are held still, so that what the error loses is the CNN's doing."""
    left = {}
    for rate in (0.0, 0.001):
        model = model_to_teach(encoder_learning_rate=rate, epochs=8, teacher_weight=300.0, learning_rate=0.0)
        pictures, development = some_pictures(model, 22, 2), some_pictures(model, 6, 1)
        teacher = teacher_of(22, model.encoder.regions)
        before = model.encoder.fingerprint()
        list(fit(model, pictures, development, folder=tmp_path / str(rate), teacher=teacher))
        distillation = Distillation(model.encoder.feature_size, teacher)
        distillation.load_state_dict(torch.load(tmp_path / str(rate) / "state.pt", weights_only=True)["distillation"])
        left[rate] = mean_loss(model, distillation, teacher)
        assert (model.encoder.fingerprint() == before) == (rate == 0)
    assert left[0.001] < 0.9 * left[0.0]


def test_the_loss_told_is_that_of_the_words_and_the_model_has_nothing_of_the_teacher(tmp_path: Path) -> None:
    first = {}
    for name, weight in (("light", 1e-6), ("heavy", 1e3)):
        model = model_to_teach(teacher_weight=weight, epochs=1)
        pictures, development = some_pictures(model, 22, 2), some_pictures(model, 6, 1)
        teacher = teacher_of(22, model.encoder.regions)
        events = list(fit(model, pictures, development, folder=tmp_path / name, teacher=teacher))
        first[name] = losses(events)[0]
    assert first["light"] == first["heavy"]
    train(model_to_teach(epochs=1, teacher=None), tmp_path / "alone")
    stored = [set(load_checkpoint(tmp_path / run / "best").state_dict()) for run in ("heavy", "alone")]
    assert stored[0] == stored[1]


def test_a_taught_run_that_dies_goes_on_bit_for_bit(tmp_path: Path) -> None:
    teacher = teacher_of(22, model_to_teach().encoder.regions)
    whole = losses(train(model_to_teach(), tmp_path / "whole", teacher=teacher))
    begin(model_to_teach(save_seconds=1e-6), tmp_path / "died", after=9, teacher=teacher)
    assert losses(train(model_to_teach(), tmp_path / "died", resume=True, teacher=teacher)) == whole[8:]
    one, other = (torch.load(tmp_path / run / "state.pt", weights_only=True) for run in ("whole", "died"))
    for part in ("weights", "distillation"):
        assert all(torch.equal(one[part][name], other[part][name]) for name in one[part])


def test_a_batch_in_parts_teaches_the_same(tmp_path: Path) -> None:
    teacher = teacher_of(22, model_to_teach().encoder.regions)
    learnt = []
    for at_once in (None, 3, 1):
        train(model_to_teach(epochs=1, pictures_at_once=at_once), tmp_path / str(at_once), teacher=teacher)
        learnt.append(torch.load(tmp_path / str(at_once) / "state.pt", weights_only=True)["weights"])
    for name, tensor in learnt[0].items():
        for other in learnt[1:]:
            torch.testing.assert_close(other[name], tensor, atol=1e-3, rtol=1e-3)


def test_another_teacher_is_another_run(tmp_path: Path) -> None:
    regions = model_to_teach().encoder.regions
    one, other = teacher_of(22, regions), teacher_of(23, regions).select(np.arange(22))
    begin(model_to_teach(save_seconds=1e-6), tmp_path, after=3, teacher=one)
    with pytest.raises(TrainingError, match="its own recipe"):
        train(model_to_teach(), tmp_path, resume=True, teacher=other)


def test_of_one_picture_a_teacher_tells_numbers() -> None:
    teacher = teacher_of(1, regions=3)
    distillation = Distillation(SIZE, teacher)
    assert bool(distillation(torch.zeros(1, 3, SIZE), torch.from_numpy(teacher.read(np.arange(1)))).isfinite().all())


def test_a_teacher_that_cannot_teach_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs its view of the pictures"):
        train(model_to_teach(), tmp_path)
    model = model_to_teach(tuned_blocks=0)
    with pytest.raises(ConfigError, match="must be at least 1"):
        train(model, tmp_path, teacher=teacher_of(22, model.encoder.regions))


def test_captions_that_the_model_draws_are_learnt_beside_a_teacher(tmp_path: Path) -> None:
    model = model_to_teach(objective="self_critical", samples=2, epochs=1)
    teacher = teacher_of(22, model.encoder.regions)
    before = model.encoder.fingerprint()
    assert evaluations(train(model, tmp_path, teacher=teacher))[-1].reward is not None
    assert model.encoder.fingerprint() != before
