"""The whole network: a CNN encoder, a recurrent decoder and the words it may say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from captioner.config import Config, SearchConfig
from captioner.model.cells import Gates
from captioner.model.decoder import Decoder, State, build_decoder
from captioner.model.encoder import Encoder, build_encoder
from captioner.search.beam import Hypothesis, beam_search
from captioner.search.constraints import Constraints
from captioner.search.greedy import greedy_search
from captioner.text.vocabulary import END, NEVER_SAID, START, Vocabulary


class Trace(NamedTuple):
    """What the network computed while it said one caption; time runs over its words and the end token."""

    log_probabilities: Tensor
    """(time,): of each word, given those before it."""
    weights: Tensor | None
    """(time, regions[, + 1 for the sentinel]): where each word looked; None without attention."""
    gates: list[Gates]
    """Of each word, tensors (hidden,)."""


class CaptioningModel(nn.Module):
    """Pictures in, captions out."""

    def __init__(self, encoder: Encoder, decoder: Decoder, vocabulary: Vocabulary, config: Config) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.vocabulary = vocabulary
        self.config = config

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.decoder.output_bias.device

    def next_word(self, words: Tensor, state: State) -> tuple[Tensor, State]:
        """The step a search takes: last words (pictures, rows) -> log-probabilities of the next, new state.

        Tokens that are no words have log-probability -inf; the others share all the probability.
        """
        said = self.decoder.step(self.decoder.embed(words), state)
        logits = self.decoder.score(said.output).float()
        logits[..., list(NEVER_SAID)] = -torch.inf
        return logits.log_softmax(dim=-1), said.state

    @torch.inference_mode()
    def search(self, features: Tensor, settings: SearchConfig, *, best: int = 1) -> list[list[Hypothesis]]:
        """The `best` captions of each picture, best first, from features (pictures, regions, feature_size).

        A beam one wide is greedy search and gives one caption.
        """
        constraints = Constraints(
            end=END,
            min_length=settings.min_length,
            max_length=settings.max_length,
            no_repeat_ngram=settings.no_repeat_ngram,
        )
        state = self.decoder.start(features, rows=1)
        pictures, device = len(features), features.device
        if settings.beam_width == 1:
            only = greedy_search(
                self.next_word, state, pictures=pictures, start=START, constraints=constraints, device=device
            )
            return [[caption] for caption in only]
        return beam_search(
            self.next_word,
            state,
            pictures=pictures,
            start=START,
            constraints=constraints,
            beam_width=settings.beam_width,
            best=best,
            length_exponent=settings.length_exponent,
            device=device,
        )

    @torch.inference_mode()
    def trace(self, features: Tensor, words: Sequence[int]) -> Trace:
        """Say the given words about one picture, features (regions, feature_size), and watch."""
        state = self.decoder.start(features.unsqueeze(0), rows=1)
        log_probabilities, weights, gates = [], [], []
        for before, after in zip([START, *words], [*words, END], strict=True):
            said = self.decoder.step(self.decoder.embed(torch.tensor([[before]], device=self.device)), state)
            state = said.state
            logits = self.decoder.score(said.output)[0, 0].float()
            logits[list(NEVER_SAID)] = -torch.inf
            log_probabilities.append(logits.log_softmax(dim=-1)[after])
            gates.append(said.gates.of_row(0, 0))
            if said.weights is not None:
                weights.append(said.weights[0, 0])
        return Trace(torch.stack(log_probabilities), torch.stack(weights) if weights else None, gates)


def build_model(config: Config, vocabulary: Vocabulary) -> CaptioningModel:
    """An untrained captioner: the encoder with the weights the recipe names, the decoder random."""
    encoder = build_encoder(config.encoder.name, weights=config.encoder.weights, size=config.encoder.size)
    decoder = build_decoder(config.decoder, feature_size=encoder.feature_size, vocabulary_size=len(vocabulary))
    return CaptioningModel(encoder, decoder, vocabulary, config)
