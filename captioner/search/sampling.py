"""Captions drawn at random, likelier ones more often; the same seed draws the same ones.

Each word is drawn from the model's distribution as the settings reshape it:

    temperature   log-probabilities are divided by it: below 1 bolder in what is likely, above 1 in what is not
    top_k         only the k likeliest words (Fan et al. 2018, section 5.4)
    top_p         only the fewest words that together have this probability (nucleus; Holtzman et al. 2020, section 3.1)

in this order, after the constraints took away what a caption may not say.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from captioner.errors import ConfigError
from captioner.search.backtracking import backtrack
from captioner.search.constraints import Constraints
from captioner.search.hypothesis import AnyState, Hypothesis, Step


def check_sampling(*, temperature: float, top_k: int | None, top_p: float) -> None:
    """Raise ConfigError when `sample` would refuse these settings."""
    if not 0 < temperature < torch.inf or not 0 < top_p <= 1:
        raise ConfigError(
            f"The temperature must be above 0 and top_p above 0 and at most 1, but {temperature} and {top_p} came."
        )
    if top_k is not None and top_k < 1:
        raise ConfigError(f"top_k must be a number of words, 1 or more, or absent for all of them, but {top_k} came.")


@torch.inference_mode()
def sample(
    step: Step[AnyState],
    state: AnyState,
    *,
    start: int,
    constraints: Constraints,
    keys: Sequence[int],
    draws: int = 1,
    seed: int = 0,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    device: torch.device | str = "cpu",
) -> list[list[Hypothesis]]:
    """For every picture `draws` captions, likeliest first; one drawn twice is there twice.

    `keys` holds a number for each picture that stays with the picture, such as a hash of its pixels: its random
    numbers come from the seed, its key and nothing else, so that its captions do not depend on which pictures
    share the batch. `state` holds one row per picture. Scores are log-probabilities, and those are the model's
    own: neither temperature nor constraints change them. Raises ConfigError when no caption can obey the
    constraints or a setting is out of its range.
    """
    check_sampling(temperature=temperature, top_k=top_k, top_p=top_p)
    pictures, end, at_start = len(keys), constraints.end, state
    # Words are drawn in float64, which Apple's graphics processors do not know.
    dice = torch.device("cpu") if torch.device(device).type == "mps" else device
    luck = random_numbers(seed, keys, draws, constraints.max_length + 1).to(dice)
    progress = torch.zeros(pictures, draws, dtype=torch.long, device=device)
    state = state.select_rows(progress)
    words, history = progress + start, progress.unsqueeze(-1)[..., :0]
    totals = torch.zeros(pictures, draws, device=device)
    over = torch.zeros_like(progress, dtype=torch.bool)
    while not bool(over.all()):
        log_probabilities, state = step(words, state)
        allowed = constraints.apply(log_probabilities, history, progress)
        stuck = allowed.isneginf().all(dim=-1)
        chances = reshaped(allowed.to(dice), temperature=temperature, top_k=top_k, top_p=top_p)
        words = draw(chances, luck[..., history.shape[-1]]).to(device).masked_fill(over | stuck, end)
        gained = allowed.gather(-1, words.unsqueeze(-1)).squeeze(-1)
        totals = totals + gained.masked_fill(over, 0.0)
        over = over | (words == end)
        progress = constraints.advance(progress, words)
        history = torch.cat([history, words.unsqueeze(-1)], dim=-1)

    answers = []
    for picture, (captions, values) in enumerate(zip(history.tolist(), totals.tolist(), strict=True)):
        drawn = [
            Hypothesis(tuple(ids[: ids.index(end)]), total, total)
            for ids, total in zip(captions, values, strict=True)
            if total > -torch.inf
        ]
        if not drawn:
            way = backtrack(
                step, at_start, picture, pictures=pictures, start=start, constraints=constraints, device=device
            )
            drawn = [way] if way is not None else []
        answers.append(sorted(drawn, key=lambda caption: -caption.log_probability))
    return answers


def reshaped(log_probabilities: Tensor, *, temperature: float, top_k: int | None, top_p: float) -> Tensor:
    """The probabilities (..., vocabulary) that words are drawn with; they sum to one, or are 0 where all were -inf."""
    scaled = log_probabilities / temperature
    vocabulary = scaled.shape[-1]
    if top_k is None and top_p == 1:
        return scaled.double().softmax(dim=-1).nan_to_num(0.0)
    kept, words = scaled.topk(min(top_k or vocabulary, vocabulary), dim=-1)
    chances = kept.double().softmax(dim=-1)
    if top_p < 1:
        enough_before = chances.cumsum(dim=-1) - chances >= top_p
        chances = kept.masked_fill(enough_before, -torch.inf).double().softmax(dim=-1)
    return torch.zeros_like(scaled, dtype=torch.double).scatter(-1, words, chances.nan_to_num(0.0))


def draw(chances: Tensor, luck: Tensor) -> Tensor:
    """Words (pictures, rows): where the sum of the chances (pictures, rows, vocabulary) so far exceeds the luck."""
    sums = chances.cumsum(dim=-1)
    # Scaled to the sum, since rounding may leave it below a number just under one.
    reached = sums > (luck * sums[..., -1]).unsqueeze(-1)
    return reached.int().argmax(dim=-1)


def random_numbers(seed: int, keys: Sequence[int], draws: int, length: int) -> Tensor:
    """Numbers from 0 to 1, float64 (pictures, draws, length), those of a picture from the seed and its key."""
    generator = torch.Generator()
    numbers = []
    for key in keys:
        digest = hashlib.blake2b(f"{seed} {key}".encode(), digest_size=8).digest()
        generator.manual_seed(int.from_bytes(digest))
        numbers.append(torch.rand(draws, length, generator=generator, dtype=torch.float64))
    return torch.stack(numbers) if numbers else torch.empty(0, draws, length, dtype=torch.float64)
