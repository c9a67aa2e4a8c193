"""Chance in training: fixed by seed, step and place, whoever draws it."""

from __future__ import annotations

import torch

from captioner.training.noise import Noise, PlacedDropout

CPU = torch.device("cpu")


def drawn(seed: int, step: int, first: int, pictures: int, own: int) -> list[torch.Tensor]:
    noise = Noise(seed)
    noise.place(step=step, first=first, pictures=pictures)
    return [noise.uniform((own, 3), CPU), noise.uniform((own, 2, 2), CPU)]


def test_a_share_of_a_batch_draws_what_the_whole_batch_draws_there() -> None:
    whole = drawn(1, 5, 0, 10, 10)
    share = drawn(1, 5, 4, 10, 3)
    for all_numbers, own in zip(whole, share, strict=True):
        assert torch.equal(all_numbers[4:7], own)


def test_seed_and_step_decide() -> None:
    first = drawn(1, 5, 0, 4, 4)[0]
    assert torch.equal(first, drawn(1, 5, 0, 4, 4)[0])
    assert not torch.equal(first, drawn(1, 6, 0, 4, 4)[0])
    assert not torch.equal(first, drawn(2, 5, 0, 4, 4)[0])


def test_dropout_drops_its_share_and_keeps_the_mean() -> None:
    noise = Noise(0)
    noise.place(step=0, first=0, pictures=100)
    dropout = PlacedDropout(0.25, noise).train()
    values = dropout(torch.ones(100, 1000))
    assert set(values.unique().tolist()) == {0.0, float(torch.tensor(1.0) / 0.75)}
    assert abs(float((values == 0).float().mean()) - 0.25) < 0.01
    assert abs(float(values.mean()) - 1) < 0.01


def test_dropout_of_everything_and_of_nothing() -> None:
    noise = Noise(0)
    assert torch.equal(PlacedDropout(1.0, noise).train()(torch.ones(1, 4)), torch.zeros(1, 4))
    assert torch.equal(PlacedDropout(0.0, noise).train()(torch.ones(1, 4)), torch.ones(1, 4))
    assert torch.equal(PlacedDropout(0.5, noise).eval()(torch.ones(1, 4)), torch.ones(1, 4))
