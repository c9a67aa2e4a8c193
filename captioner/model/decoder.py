"""The recurrent network that says the words: three architectures behind one seam.

    state = decoder.start(features, rows=5)       # features (pictures, regions, feature_size)
    inputs = decoder.embed(words)                 # (pictures, rows[, time]) -> (..., input_size)
    said = decoder.step(inputs[:, :, t], state)   # one word: said.output, said.state
    logits = decoder.score(said.output)           # (..., output_size) -> (..., vocabulary)

Teacher forcing, search and explanation all call this `step`. What does not recur (`embed`, `score`) takes any
number of words at once and stays outside the loop over them.

Axes: pictures, rows, regions, time, hidden, vocabulary. The rows of a picture are its reference captions in
training and its beams in search; they share the picture's keys and values.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from captioner.config import DecoderConfig
from captioner.model.attention import ATTENTIONS, DotAttention
from captioner.model.cells import CELLS, Cell, CellState, Gates, LSTMCell, tanh
from captioner.model.packing import pack
from captioner.text.vocabulary import NEVER_SAID


@dataclass(frozen=True)
class State:
    """What the decoder carries from word to word."""

    rows: dict[str, Tensor]
    """Tensors (pictures, rows, hidden), one for every row."""
    picture: dict[str, Tensor]
    """Tensors (pictures, regions, size), shared by the rows of a picture."""

    def select_rows(self, rows: Tensor) -> State:
        """The state with each picture's rows replaced by those numbered in `rows` (pictures, new rows)."""
        pictures = torch.arange(len(rows), device=rows.device).unsqueeze(1)
        return replace(self, rows={name: tensor[pictures, rows] for name, tensor in self.rows.items()})

    def cell(self, name: str) -> CellState:
        """The state of the cell called `name`."""
        return CellState(hidden=self.rows[f"{name}.hidden"], memory=self.rows[f"{name}.memory"])


class Said(NamedTuple):
    """One word's step."""

    output: Tensor
    """(pictures, rows, output_size): what `score` turns into logits."""
    state: State
    gates: Gates
    """Of the cell that speaks (the language LSTM of `top_down`)."""
    weights: Tensor | None
    """(pictures, rows, regions): where the word looked; with a sentinel one more column, last, for not looking."""


class Decoder(nn.Module):
    """What the three architectures share: words in, a score for every word out.

    The last layer's weights are the word embeddings (tied; Press and Wolf 2017).
    """

    speaking_cell = "cell"
    """The name, in `State`, of the cell whose gates a step reports."""

    _gates_of_words: Tensor | None

    def __init__(self, *, output_size: int, embedding_size: int, vocabulary_size: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, embedding_size)
        nn.init.normal_(self.embedding.weight, std=embedding_size**-0.5)
        self.embedding_scale = embedding_size**0.5
        self.output = nn.Linear(output_size, embedding_size)
        self.output_bias = nn.Parameter(torch.zeros(vocabulary_size))
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("_gates_of_words", None, persistent=False)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.output_bias.device

    def start(self, features: Tensor, *, rows: int) -> State:
        """The state before the first word, from region features (pictures, regions, feature_size)."""
        raise NotImplementedError

    @property
    def reading_cell(self) -> Cell:
        """The cell that the words go into."""
        raise NotImplementedError

    def embed(self, words: Tensor) -> Tensor:
        """Word ids (...) -> the words' share of the reading cell's gates (..., gates * hidden_size)."""
        if self._gates_of_words is not None and not self.training:
            return F.embedding(words, self._gates_of_words)
        return self.reading_cell.project(self.look_up(words))

    @property
    def folded(self) -> bool:
        """Whether it was made ready for captioning by `fold`, and so cannot learn any more."""
        return self._gates_of_words is not None

    @torch.no_grad()
    def fold(self, precision: torch.dtype = torch.float32) -> None:
        """Compute what `embed` gives for every word of the vocabulary, so that from now on it only looks it up.

        Attention is folded and all other products are made ready too (see `captioner.model.packing`). This is for
        weights that will not change any more, and those stay what they are: the table is no part of them. `precision`
        is that of the products; the table has 32 bits in any case, and all that is done between products.
        """
        self.eval()
        self._gates_of_words = None
        self._gates_of_words = self.embed(torch.arange(len(self.output_bias), device=self.device))
        for layer in self.modules():
            if isinstance(layer, DotAttention):
                layer.fold(precision)
        pack(self, precision)

    def look_up(self, words: Tensor) -> Tensor:
        """Word ids (...) -> embeddings (..., embedding_size) of unit variance.

        The weights are small, as an output layer's must be; as inputs they are scaled up (Vaswani et al. 2017,
        section 3.4).
        """
        embedded: Tensor = self.dropout(self.embedding(words) * self.embedding_scale)
        return embedded

    def step(self, inputs: Tensor, state: State) -> Said:
        """One word further: inputs (pictures, rows, gates * hidden_size) as `embed` gives them."""
        raise NotImplementedError

    def score(self, output: Tensor) -> Tensor:
        """Outputs (..., output_size), in training after dropout -> logits (..., vocabulary)."""
        meant = tanh(self.output(output))
        return F.linear(meant, self.embedding.weight, self.output_bias)


class ShowAndTell(Decoder):
    """The picture, pooled, is the first input; no attention (Vinyals et al. 2015)."""

    def __init__(self, cell: Cell, *, feature_size: int, vocabulary_size: int, dropout: float) -> None:
        super().__init__(
            output_size=cell.hidden_size,
            embedding_size=cell.input_size,
            vocabulary_size=vocabulary_size,
            dropout=dropout,
        )
        self.cell = cell
        self.picture = nn.Linear(feature_size, cell.input_size)

    def start(self, features: Tensor, *, rows: int) -> State:
        """See `Decoder.start`."""
        picture = self.dropout(self.picture(features.mean(dim=1)))
        blank = picture.new_zeros(len(picture), self.cell.hidden_size)
        first = self.cell(picture, CellState(blank, blank))
        return State(rows=_rows({"cell": first}, rows), picture={})

    @property
    def reading_cell(self) -> Cell:
        """See `Decoder.reading_cell`."""
        return self.cell

    def step(self, inputs: Tensor, state: State) -> Said:
        """See `Decoder.step`."""
        after, gates = self.cell.step(inputs, state.cell("cell"))
        return Said(after.hidden, State(_named({"cell": after}), state.picture), gates, weights=None)


class Attend(Decoder):
    """Soft attention over the regions at each word (Xu et al. 2015, section 3.1.2), by input feeding.

    The cell reads the word and the context of the word before; its new hidden state then looks at the picture
    for the context that chooses this word and feeds the next (Luong et al. 2015, section 3.3). With a sentinel
    the word may look at what the cell remembers instead of at the picture (Lu et al. 2017, section 2.2).
    """

    def __init__(
        self,
        cell: Cell,
        attention: DotAttention,
        *,
        feature_size: int,
        vocabulary_size: int,
        dropout: float,
        sentinel: bool,
    ) -> None:
        hidden_size = cell.hidden_size
        super().__init__(
            output_size=2 * hidden_size,
            embedding_size=cell.input_size,
            vocabulary_size=vocabulary_size,
            dropout=dropout,
        )
        self.cell = cell
        self.attention = attention
        self.region = nn.Sequential(nn.Linear(feature_size, hidden_size), nn.LayerNorm(hidden_size), nn.ReLU())
        self.first_hidden = nn.Linear(hidden_size, hidden_size)
        self.first_memory = nn.Linear(hidden_size, hidden_size)
        self.context_gates = nn.Linear(hidden_size, cell.gates * hidden_size, bias=False)
        self.sentinel = nn.Linear(hidden_size, hidden_size) if sentinel else None

    def start(self, features: Tensor, *, rows: int) -> State:
        """See `Decoder.start`; hidden state and memory come from the mean region (Xu et al. 2015)."""
        values = self.dropout(self.region(features))
        mean = values.mean(dim=1)
        hidden = tanh(self.first_hidden(mean))
        # Only the LSTM has a memory of its own; the memory of the others is their hidden state.
        memory = tanh(self.first_memory(mean)) if isinstance(self.cell, LSTMCell) else hidden
        first = CellState(hidden, memory)
        carried = {**_rows({"cell": first}, rows), "context": _row(mean, rows)}
        return State(carried, picture={"keys": self.attention.keys(values), "values": values})

    @property
    def reading_cell(self) -> Cell:
        """See `Decoder.reading_cell`."""
        return self.cell

    def step(self, inputs: Tensor, state: State) -> Said:
        """See `Decoder.step`."""
        after, gates = self.cell.step(inputs + self.context_gates(state.rows["context"]), state.cell("cell"))
        keys, values = state.picture["keys"], state.picture["values"]
        if self.sentinel is None:
            context, weights = self.attention(after.hidden, keys, values)
        else:
            remembered = torch.sigmoid(self.sentinel(after.hidden)) * tanh(after.memory)
            context, weights = self._attend_or_remember(after.hidden, keys, values, remembered)
        carried = {**_named({"cell": after}), "context": context}
        output = torch.cat([after.hidden, context], dim=-1)
        return Said(output, State(carried, state.picture), gates, weights)

    def _attend_or_remember(
        self, hidden: Tensor, keys: Tensor, values: Tensor, sentinels: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Attention over the regions and one more place, each row's own sentinel (pictures, rows, hidden)."""
        pictures, rows, _ = sentinels.shape
        queries, own_keys = self.attention.ask(hidden), self.attention.keys(sentinels)
        region_scores = self.attention.scores(queries, keys)
        own_scores = self.attention.scores(
            queries.reshape(pictures * rows, 1, -1), own_keys.reshape(pictures * rows, 1, -1)
        )
        weights = torch.cat([region_scores, own_scores.view(pictures, rows, 1)], dim=-1).softmax(dim=-1)
        context = weights[..., :-1] @ values + weights[..., -1:] * sentinels
        return context, weights


class TopDown(Decoder):
    """An attention cell decides where to look, a language cell what to say (Anderson et al. 2018, section 3.2)."""

    speaking_cell = "language"

    def __init__(
        self,
        attention_cell: Cell,
        language_cell: Cell,
        attention: DotAttention,
        *,
        feature_size: int,
        vocabulary_size: int,
        dropout: float,
    ) -> None:
        hidden_size = language_cell.hidden_size
        super().__init__(
            output_size=hidden_size,
            embedding_size=attention_cell.input_size,
            vocabulary_size=vocabulary_size,
            dropout=dropout,
        )
        self.attention_cell = attention_cell
        self.language_cell = language_cell
        self.attention = attention
        self.region = nn.Sequential(nn.Linear(feature_size, hidden_size), nn.LayerNorm(hidden_size), nn.ReLU())
        self.recurrent_gates = nn.Linear(2 * hidden_size, attention_cell.gates * hidden_size, bias=False)

    def start(self, features: Tensor, *, rows: int) -> State:
        """See `Decoder.start`."""
        values = self.dropout(self.region(features))
        mean = values.mean(dim=1)
        blank = CellState(torch.zeros_like(mean), torch.zeros_like(mean))
        carried = {**_rows({"attention": blank, "language": blank}, rows), "mean": _row(mean, rows)}
        return State(carried, picture={"keys": self.attention.keys(values), "values": values})

    @property
    def reading_cell(self) -> Cell:
        """See `Decoder.reading_cell`."""
        return self.attention_cell

    def step(self, inputs: Tensor, state: State) -> Said:
        """See `Decoder.step`."""
        language = state.cell("language")
        read = torch.cat([language.hidden, state.rows["mean"]], dim=-1)
        looking, _ = self.attention_cell.step(inputs + self.recurrent_gates(read), state.cell("attention"))
        context, weights = self.attention(looking.hidden, state.picture["keys"], state.picture["values"])
        heard = self.language_cell.project(torch.cat([context, looking.hidden], dim=-1))
        speaking, gates = self.language_cell.step(heard, language)
        carried = {**_named({"attention": looking, "language": speaking}), "mean": state.rows["mean"]}
        return Said(speaking.hidden, State(carried, state.picture), gates, weights)


def word_log_probabilities(decoder: Decoder, outputs: Tensor) -> Tensor:
    """Outputs (..., output_size) -> log-probabilities of the next word (..., vocabulary), float32.

    Tokens that are no words have -inf; the others share all the probability.
    """
    logits = decoder.score(outputs).float()
    logits[..., list(NEVER_SAID)] = -torch.inf
    return logits.log_softmax(dim=-1)


def build_decoder(config: DecoderConfig, *, feature_size: int, vocabulary_size: int) -> Decoder:
    """The decoder a recipe asks for."""
    cell_class = CELLS[config.cell]
    cell = cell_class(config.embedding_size, config.hidden_size)
    if config.kind == "show_and_tell":
        return ShowAndTell(cell, feature_size=feature_size, vocabulary_size=vocabulary_size, dropout=config.dropout)
    attention = ATTENTIONS[config.attention](
        query_size=config.hidden_size, key_size=config.hidden_size, attention_size=config.attention_size
    )
    if config.kind == "attend":
        return Attend(
            cell,
            attention,
            feature_size=feature_size,
            vocabulary_size=vocabulary_size,
            dropout=config.dropout,
            sentinel=config.sentinel,
        )
    return TopDown(
        cell,
        cell_class(2 * config.hidden_size, config.hidden_size),
        attention,
        feature_size=feature_size,
        vocabulary_size=vocabulary_size,
        dropout=config.dropout,
    )


def _named(cells: dict[str, CellState]) -> dict[str, Tensor]:
    """Cell states under the names `State.cell` looks for."""
    return {f"{name}.{part}": tensor for name, cell in cells.items() for part, tensor in cell._asdict().items()}


def _rows(cells: dict[str, CellState], rows: int) -> dict[str, Tensor]:
    """Cell states (pictures, hidden), the same for every row of a picture: (pictures, rows, hidden)."""
    return {name: _row(tensor, rows) for name, tensor in _named(cells).items()}


def _row(tensor: Tensor, rows: int) -> Tensor:
    return tensor.unsqueeze(1).expand(-1, rows, -1)
