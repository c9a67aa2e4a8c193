"""Beginning from an older model: it keeps its words and weights, and gains the new words of a collection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import fields

import numpy as np
import torch
from torch import Tensor

from captioner.config import Config, VocabularyConfig
from captioner.errors import ConfigError
from captioner.model.captioning import CaptioningModel
from captioner.model.decoder import build_decoder
from captioner.text.vocabulary import SPECIAL_TOKENS, Vocabulary

_FREE = ("mirrored", "dropout")
"""Settings of encoder and decoder that shape no weights: how pictures are shown, and what is dropped, in training."""


def settings_kept(old: CaptioningModel) -> Config:
    """What a recipe leaves open and an older model decides: its encoder, decoder, units of words and search."""
    vocabulary = VocabularyConfig(units=old.vocabulary.units)
    return Config(vocabulary, encoder=old.config.encoder, decoder=old.config.decoder, search=old.config.search)


def warm_start(old: CaptioningModel, config: Config, captions: Sequence[Sequence[str]]) -> CaptioningModel:
    """A model with the weights of `old` that also knows the words of all pictures' `captions`.

    A new word must occur as often as the recipe says.

    Raises ConfigError when the recipe asks for another encoder, decoder or units than the old model's.
    """
    _check(old, config)
    sentences = [caption for row in captions for caption in row]
    vocabulary = _joined(old.vocabulary, sentences, min_count=config.vocabulary.min_count)
    decoder = build_decoder(config.decoder, feature_size=old.encoder.feature_size, vocabulary_size=len(vocabulary))
    weights = old.decoder.state_dict()
    weights["embedding.weight"] = _embeddings(old, vocabulary, sentences)
    weights["output_bias"] = _biases(old, vocabulary)
    decoder.load_state_dict(weights)
    return CaptioningModel(old.encoder, decoder, vocabulary, config)


def _check(old: CaptioningModel, config: Config) -> None:
    kept = settings_kept(old)
    pairs = [
        (f"{part}.{field.name}", getattr(getattr(kept, part), field.name), getattr(getattr(config, part), field.name))
        for part in ("encoder", "decoder")
        for field in fields(getattr(kept, part))
        if field.name not in _FREE
    ]
    pairs.append(("vocabulary.units", kept.vocabulary.units, config.vocabulary.units))
    for name, has, wanted in pairs:
        if wanted != has:
            raise ConfigError(
                f"{name} must be that of the model to begin from, {has!r}, but the recipe says {wanted!r}; leave it "
                "out, or train without --from."
            )


def _joined(old: Vocabulary, captions: Sequence[str], *, min_count: int) -> Vocabulary:
    """All words of the old vocabulary and those that occur often enough in the captions, commonest first."""
    counts = Counter(word for caption in captions for word in old.normalise(caption))
    joined = Counter(old.counts)
    joined.update({word: count for word, count in counts.items() if word in old or count >= min_count})
    return Vocabulary(sorted(joined.items(), key=lambda entry: (-entry[1], entry[0])), units=old.units)


def _embeddings(old: CaptioningModel, vocabulary: Vocabulary, captions: Sequence[str]) -> Tensor:
    """The old words' rows; a new word's is the mean of the words beside it in captions, as long as others are."""
    known = old.decoder.embedding.weight.detach()
    ids = {word: index for index, word in enumerate(old.vocabulary.words)}
    length = known[len(SPECIAL_TOKENS) :].norm(dim=1).mean()
    sums: dict[str, Tensor] = {}
    for caption in captions:
        words = vocabulary.normalise(caption)
        beside = [ids[word] for word in words if word in ids]
        for word in words:
            if word not in ids and word in vocabulary:
                sums[word] = sums.get(word, torch.zeros_like(length)) + known[beside].sum(dim=0)
    rows = []
    for word in vocabulary.words:
        row = known[ids[word]] if word in ids else sums[word] * (length / sums[word].norm().clamp_min(1e-9))
        rows.append(row)
    return torch.stack(rows)


def _biases(old: CaptioningModel, vocabulary: Vocabulary) -> Tensor:
    """The old words' output biases; a new word's is that of old words about as common, by a fitted line."""
    known = old.decoder.output_bias.detach()
    ids = {word: index for index, word in enumerate(old.vocabulary.words)}
    counts = np.array([vocabulary.counts[word] for word in old.vocabulary.counts])
    slope, level = np.polyfit(np.log(counts), known[len(SPECIAL_TOKENS) :].numpy(), deg=1)
    return torch.tensor(
        [
            float(known[ids[word]]) if word in ids else level + slope * np.log(vocabulary.counts[word])
            for word in vocabulary.words
        ],
        dtype=known.dtype,
    )
