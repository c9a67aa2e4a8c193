"""A plain decoder, as tutorials write it: correct, readable, and with nothing done to make it fast.

It is `captioner.model.decoder.Attend` with an LSTM, dot attention and a sentinel, from the same weights, and its
search has the same rules and scores, so it says the same captions. But it takes one picture at a time, copies the
picture's features for every beam, projects them anew at every word, has a matrix for each gate, and sorts all
continuations to find a few. Trained, it sees every caption as a picture of its own, and scores all words at every
position, padding too.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from captioner.config import DecoderConfig, SearchConfig
from captioner.data.batches import Words
from captioner.errors import ConfigError
from captioner.text.vocabulary import END, NEVER_SAID, PADDING, START

GATES = ("input", "forget", "candidate", "output")
"""In the order of the rows of the LSTM's matrices."""

Carried = tuple[Tensor, Tensor, Tensor]
"""Hidden state, memory and context, each (rows, hidden)."""


def check_kind(config: DecoderConfig) -> None:
    """Raises ConfigError for a decoder that has no textbook one beside it."""
    if (config.kind, config.cell, config.attention, config.sentinel) != ("attend", "lstm", "dot", True):
        raise ConfigError(
            "The textbook decoder is written for attend, lstm, dot and a sentinel, but this model has "
            f"{config.kind}, {config.cell}, {config.attention} and {'a' if config.sentinel else 'no'} sentinel."
        )


class Textbook(nn.Module):
    """The decoder; all its tensors have one row per caption."""

    def __init__(self, weights: Mapping[str, Tensor], config: DecoderConfig) -> None:
        """`weights` are those of an `Attend` by their names. Raises ConfigError for other decoders."""
        super().__init__()
        check_kind(config)

        def linear(name: str) -> nn.Linear:
            return _linear(weights[f"{name}.weight"], weights.get(f"{name}.bias"))

        def gates(matrix: str, bias: str | None) -> nn.ModuleDict:
            parts = weights[matrix].chunk(4)
            biases = weights[bias].chunk(4) if bias else [None] * 4
            return nn.ModuleDict(
                {name: _linear(part, each) for name, part, each in zip(GATES, parts, biases, strict=True)}
            )

        self.embedding = nn.Embedding.from_pretrained(weights["embedding.weight"].float().clone(), freeze=False)
        self.region = linear("region.0")
        self.norm = nn.LayerNorm(config.hidden_size)
        self.norm.load_state_dict({"weight": weights["region.1.weight"], "bias": weights["region.1.bias"]})
        self.first_hidden = linear("first_hidden")
        self.first_memory = linear("first_memory")
        self.from_word = gates("cell.weight_ih", "cell.bias_ih")
        self.from_hidden = gates("cell.weight_hh", "cell.bias_hh")
        self.from_context = gates("context_gates.weight", None)
        self.query = linear("attention.query")
        self.key = linear("attention.key")
        self.sentinel = linear("sentinel")
        self.output = linear("output")
        self.vocabulary = _linear(weights["embedding.weight"], weights["output_bias"])
        self.vocabulary.weight = self.embedding.weight
        self.dropout = nn.Dropout(config.dropout)

    def values(self, features: Tensor) -> Tensor:
        """Features (rows, regions, feature_size) -> values (rows, regions, hidden)."""
        return torch.relu(self.norm(self.region(features)))

    def start(self, features: Tensor) -> Carried:
        """What is carried before the first word."""
        mean = self.values(features).mean(dim=1)
        return torch.tanh(self.first_hidden(mean)), torch.tanh(self.first_memory(mean)), mean

    def step(self, words: Tensor, carried: Carried, features: Tensor) -> tuple[Tensor, Carried]:
        """Words (rows,), features (rows, regions, feature_size) -> logits (rows, vocabulary), what is carried on."""
        hidden, memory, context = carried
        word = self.dropout(self.embedding(words) * math.sqrt(self.embedding.embedding_dim))
        sums = {
            name: self.from_word[name](word) + self.from_hidden[name](hidden) + self.from_context[name](context)
            for name in GATES
        }
        memory = torch.sigmoid(sums["forget"]) * memory + torch.sigmoid(sums["input"]) * torch.tanh(sums["candidate"])
        hidden = torch.sigmoid(sums["output"]) * torch.tanh(memory)
        remembered = torch.sigmoid(self.sentinel(hidden)) * torch.tanh(memory)
        values = self.values(features)
        places = torch.cat([values, remembered.unsqueeze(1)], dim=1)
        scores = (self.key(places) * self.query(hidden).unsqueeze(1)).sum(dim=-1)
        weights = torch.softmax(scores / math.sqrt(self.key.out_features), dim=-1)
        context = (weights.unsqueeze(-1) * places).sum(dim=1)
        meant = torch.tanh(self.output(self.dropout(torch.cat([hidden, context], dim=-1))))
        return self.vocabulary(meant), (hidden, memory, context)

    def loss(self, features: Tensor, words: Words, *, label_smoothing: float) -> Tensor:
        """The summed cross-entropy of captions, in nats; the arguments are as for `objectives.cross_entropy`."""
        rows = words.inputs.shape[1]
        copied = features.repeat_interleave(rows, dim=0)
        inputs, targets = words.inputs.flatten(0, 1), words.targets.flatten(0, 1)
        carried = self.start(copied)
        logits = []
        for time in range(inputs.shape[1]):
            scored, carried = self.step(inputs[:, time], carried, copied)
            logits.append(scored)
        every = torch.stack(logits, dim=1).flatten(0, 1)
        return F.cross_entropy(
            every, targets.flatten(), ignore_index=PADDING, label_smoothing=label_smoothing, reduction="sum"
        )

    @torch.no_grad()
    def search(self, features: Tensor, settings: SearchConfig) -> list[int]:
        """The best caption of one picture, features (regions, feature_size), as word ids."""
        carried = self.start(features.unsqueeze(0))
        captions: list[list[int]] = [[]]
        totals = torch.zeros(1)
        best, best_score = list[int](), -math.inf
        for length in range(settings.max_length + 1):
            words = torch.tensor([caption[-1] if caption else START for caption in captions])
            copied = features.unsqueeze(0).repeat(len(captions), 1, 1)
            logits, carried = self.step(words, carried, copied)
            logits[:, list(NEVER_SAID)] = -math.inf
            reached = totals.unsqueeze(1) + torch.log_softmax(logits, dim=-1)
            for row, caption in enumerate(captions):
                reached[row, _repeating(caption, settings.no_repeat_ngram)] = -math.inf
                ended = float(reached[row, END]) / (length + 1) ** settings.length_exponent
                if length >= settings.min_length and ended > best_score:
                    best, best_score = caption, ended
            reached[:, END] = -math.inf
            ranked, order = reached.flatten().sort(descending=True)
            totals = ranked[: settings.beam_width]
            if best_score > float(totals[0]) / (settings.max_length + 1) ** settings.length_exponent:
                break
            rows, chosen = (
                order[: settings.beam_width] // reached.shape[1],
                order[: settings.beam_width] % reached.shape[1],
            )
            captions = [[*captions[row], word] for row, word in zip(rows.tolist(), chosen.tolist(), strict=True)]
            hidden, memory, context = (each[rows] for each in carried)
            carried = hidden, memory, context
        return best


def _repeating(caption: list[int], size: int) -> list[int]:
    """The words that would say `size` words a second time in the same order."""
    if not size:
        return []
    last = caption[len(caption) - size + 1 :]
    return [
        caption[first + size - 1]
        for first in range(len(caption) - size + 1)
        if caption[first : first + size - 1] == last
    ]


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.load_state_dict({"weight": weight, **({} if bias is None else {"bias": bias})})
    return layer
