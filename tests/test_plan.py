"""The plan of a run: fit for fifty pictures and for half a million."""

from __future__ import annotations

import numpy as np

from captioner.config import TrainingConfig
from captioner.data.views import Views
from captioner.training.plan import Plan


def plan(pictures: int, **settings: object) -> Plan:
    chosen = {"epochs": 4, "pictures_per_batch": 10, **settings}
    return Plan(
        TrainingConfig(**chosen),  # type: ignore[arg-type]
        [[[4, 5]]] * pictures,
        mirrored_captions=[[[4, 6]]] * pictures,
        views=Views(mirrored=True),
    )


def evaluated(chosen: Plan) -> list[int]:
    return [step for step in range(chosen.steps + 1) if chosen.evaluates_after(step)]


def test_a_run_is_its_epochs_and_is_evaluated_after_each() -> None:
    chosen = plan(25)
    assert chosen.steps == 12
    assert evaluated(chosen) == [3, 6, 9, 12]


def test_a_tiny_collection_is_learnt_in_enough_steps_and_not_evaluated_at_each() -> None:
    chosen = plan(5, min_steps=100, evaluations=4)
    assert chosen.steps_per_epoch == 1
    assert chosen.steps == 100
    assert evaluated(chosen) == [25, 50, 75, 100]


def test_a_huge_collection_is_evaluated_before_it_was_seen_once() -> None:
    chosen = plan(1000, max_steps=50, evaluations=5)
    assert chosen.steps == 50
    assert evaluated(chosen) == [10, 20, 30, 40, 50]


def test_a_run_cut_off_within_an_epoch_ends_with_an_evaluation() -> None:
    assert evaluated(plan(25, max_steps=8)) == [3, 6, 8]


def test_every_epoch_shows_each_picture_once_in_batches_that_follow_from_the_step_alone() -> None:
    chosen, again = plan(25), plan(25)
    epochs = [np.concatenate([chosen.batch(3 * epoch + step).pictures for step in range(3)]) for epoch in range(2)]
    assert [sorted(epoch.tolist()) for epoch in epochs] == [list(range(25))] * 2
    assert epochs[0].tolist() != epochs[1].tolist()
    late, early = again.batch(5), chosen.batch(5)
    assert late.pictures.tolist() == early.pictures.tolist()
    assert late.views.tolist() == early.views.tolist()
    assert set(np.concatenate([chosen.batch(step).views for step in range(12)]).tolist()) == {0, 1}


def test_a_mirror_image_is_learnt_with_the_captions_of_mirror_images() -> None:
    chosen = plan(25)
    for batch in map(chosen.batch, range(6)):
        assert batch.words.targets[:, 0, 1].tolist() == [6 if view == 1 else 5 for view in batch.views]
        assert batch.mirrored.tolist() == [view == 1 for view in batch.views]


def test_own_words_grow_from_none_to_their_share() -> None:
    chosen = plan(25, scheduled_sampling=0.4)
    assert chosen.batch(0).own_words == 0
    assert chosen.batch(11).own_words == 0.4
