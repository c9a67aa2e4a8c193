"""One step of gradient descent over a batch that several processes share, each in parts that fit into its memory."""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from captioner.config import TrainingConfig
from captioner.data.batches import Words
from captioner.data.features import RegionFeatures
from captioner.errors import TrainingError
from captioner.model.device import knows_bf16, tells_of_memory
from captioner.training.noise import Noise, PlacedDropout
from captioner.training.objectives import Loss, cross_entropy, self_critical
from captioner.training.plan import Batch
from captioner.training.processes import Processes
from captioner.training.reward import Reward
from captioner.training.run_state import RunState

_EXPLODED = 4.0
"""A loss so many times that of guessing words at random is an accident, and not something to learn from."""


class Learnt(NamedTuple):
    """What came of one step; equal in all processes."""

    loss: float
    """Mean per word."""
    words: int
    """How many there were: of the references, or of the drawn captions."""
    reward: float
    """Mean of the drawn captions; 0 where none were drawn."""
    done: bool
    """Whether the weights were changed; not after a loss or a gradient that cannot be right."""


class Learner:
    """Lowers the loss of one batch after the other: the cross-entropy or, with a reward, the self-critical one."""

    def __init__(
        self,
        state: RunState,
        features: RegionFeatures,
        *,
        reward: Reward | None,
        processes: Processes,
        device: torch.device,
    ) -> None:
        settings = state.settings
        self._state = state
        self._features = features
        self._reward = reward
        self._processes = processes
        self._device = device
        self._noise = Noise(settings.seed)
        self._bf16 = uses_bf16(settings, device)
        # A self-critical loss is near 0, whatever is learnt, and tells nothing by its size.
        self._exploded = math.inf if reward is not None else _EXPLODED * math.log(len(state.averaged.vocabulary))
        self.pictures_at_once = settings.pictures_at_once or max(1, -(-settings.pictures_per_batch // processes.count))
        state.current.decoder.dropout = PlacedDropout(state.config.decoder.dropout, self._noise)
        state.current.train()

    def learn(self, batch: Batch) -> Learnt:
        """Descend along the gradient of the batch's mean loss per word.

        Raises TrainingError when not even one picture fits into the memory.
        """
        state = self._state
        sums = self._add_gradients(batch)
        gradients = [parameter.grad for parameter in state.current.parameters() if parameter.grad is not None]
        self._processes.add_up([*gradients, sums])
        total, words, reward = sums.tolist()
        loss = total / words
        # Only now: how many words all parts of the batch have is not known before captions are drawn.
        torch._foreach_div_(gradients, words)
        norm = torch.nn.utils.clip_grad_norm_(state.current.parameters(), state.settings.clip_norm)
        done = math.isfinite(loss) and loss < self._exploded and bool(norm.isfinite())
        if done:
            state.descend()
        return Learnt(loss, int(words), reward / len(batch.pictures), done)

    def _add_gradients(self, batch: Batch) -> Tensor:
        """Leave this process's share of the gradient with the weights -> its sums of loss, words and rewards.

        When memory runs out the share is begun again in parts half as large.
        """
        while True:
            try:
                return self._add_gradients_of_parts(batch)
            except (RuntimeError, MemoryError) as error:
                if not tells_of_memory(error):
                    raise
                if self.pictures_at_once == 1:
                    raise TrainingError(
                        "The memory must hold at least one picture with its captions, but it does not; free some, or "
                        "choose smaller sizes under [decoder], or fewer training.tuned_blocks."
                    ) from error
            # Only here, out of the except clause, is the memory of the failed attempt free.
            self.pictures_at_once = -(-self.pictures_at_once // 2)
            if self._device.type == "cuda":
                torch.cuda.empty_cache()

    def _add_gradients_of_parts(self, batch: Batch) -> Tensor:
        current = self._state.current
        for parameter in current.parameters():
            parameter.grad = torch.zeros_like(parameter)
        sums = torch.zeros(3, device=self._device)
        share = self._processes.share(len(batch.pictures))
        for first in range(share.start, share.stop, self.pictures_at_once):
            part = slice(first, min(first + self.pictures_at_once, share.stop))
            features = torch.from_numpy(self._features.read(batch.pictures[part], batch.views[part])).to(self._device)
            self._noise.place(step=batch.step, first=first, pictures=len(batch.pictures))
            with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16):
                loss = self._loss(batch, part, current.last_blocks(features).float())
            loss.total.backward()  # type: ignore[no-untyped-call]
            sums[0] += loss.total.detach()
            sums[1] += loss.words
            sums[2] += loss.reward
        return sums

    def _loss(self, batch: Batch, part: slice, features: Tensor) -> Loss:
        """The loss of a part of a batch, whose pictures have these features."""
        settings, decoder = self._state.settings, self._state.current.decoder
        if self._reward is not None:
            judge = partial(self._reward.of, batch.pictures[part], mirrored=batch.mirrored[part])
            longest = self._state.config.search.max_length
            return self_critical(
                decoder, features, judge, samples=settings.samples, max_length=longest, noise=self._noise
            )
        words = Words(batch.words.inputs[part].to(self._device), batch.words.targets[part].to(self._device))
        return cross_entropy(
            decoder,
            features,
            words,
            label_smoothing=settings.label_smoothing,
            own_words=batch.own_words,
            noise=self._noise,
        )


def uses_bf16(settings: TrainingConfig, device: torch.device) -> bool:
    """Whether matrix products are done in bfloat16 on this device."""
    return knows_bf16(device) if settings.bf16 == "auto" else settings.bf16 == "always"
