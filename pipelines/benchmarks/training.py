"""How fast captions are learnt, in words a second, beside the textbook decoder and a bare `nn.LSTM`; the padding."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .contestant import Contestant, Lap
from .figures import Figure, Plan, figure, paired, take_turns

if TYPE_CHECKING:
    import torch

    from captioner.data.batches import Words
    from captioner.inference.captioner import Captioner

PICTURES = 50
"""In a batch, each with five captions."""
_COLLECTION = 1000
"""Pictures of the drawn collection whose captions are learnt where there is no other."""


def measure(plan: Plan) -> list[Figure]:
    """Words learnt a second, forward and backward, from the same features and the same captions."""
    laps, facts = _time(plan)
    rates = {name: [lap.answer / lap.seconds for lap in each] for name, each in laps.items()}
    note = "captions of the drawn collection" if plan.data is None else f"captions of {plan.data.name}"
    trained = "bf16" if facts["bf16"] else "fp32"
    padding = Figure("padding in our batches", facts["ours"], "share", note=f"{facts['shuffled']:.3f} without sorting")

    def beside(name: str, other: str) -> list[float]:
        return paired(rates[name], rates[other])

    return [
        figure("fp32 / textbook decoder", beside("fp32", "textbook"), "times", at_least=3.0, note=note),
        figure(f"as it is trained, {trained} / textbook in fp32", beside("as it is trained", "textbook"), "times"),
        figure("fp32 / bare nn.LSTM", beside("fp32", "bare"), "times"),
        figure("our LSTM cell / nn.LSTM", paired(*map(_seconds, (laps["our cell"], laps["nn.LSTM"]))), "times as long"),
        figure(f"as it is trained, {trained}", rates["as it is trained"], "words/s"),
        figure("fp32", rates["fp32"], "words/s"),
        figure("self-critical", rates["self-critical"], "words/s", note="drawn words"),
        figure("textbook decoder", rates["textbook"], "words/s"),
        figure("bare nn.LSTM", rates["bare"], "words/s"),
        padding,
    ]


def _time(plan: Plan) -> tuple[dict[str, list[Lap]], dict[str, float]]:
    """The laps of all that learn, and what is to be known of ours."""
    with ExitStack() as opened:

        def enter(task: str) -> Contestant:
            settings: dict[str, Any] = {
                "model": plan.model,
                "pictures": plan.pictures[:PICTURES],
                "data": None if plan.data is None else str(plan.data),
            }
            return opened.enter_context(Contestant(f"training:{task}", threads=plan.threads, **settings))

        ours, textbook, bare = enter("ours"), enter("textbook"), enter("bare_lstm")
        facts = ours.lap(what="facts").answer
        turns: dict[str, Callable[[], Lap]] = {
            "as it is trained": partial(ours.lap, what="cross_entropy"),
            "fp32": partial(ours.lap, what="cross_entropy", bf16=False),
            "self-critical": partial(ours.lap, what="self_critical"),
            "textbook": textbook.lap,
            "bare": bare.lap,
            "our cell": partial(bare.lap, what="our cell"),
            "nn.LSTM": partial(bare.lap, what="nn.LSTM"),
        }
        return take_turns(turns, plan.rounds), facts


def _seconds(laps: Sequence[Lap]) -> list[float]:
    return [lap.seconds for lap in laps]


def ours(model: str | None, pictures: Sequence[str], data: str | None) -> Callable[..., Any]:
    """A lap learns from one batch as `captioner train` does, without the descent, and tells how many words it learnt.

    Or it tells whether it is trained in bf16, and the share of padding in an epoch's batches, ours and shuffled ones.
    """
    import torch

    from captioner.config import TrainingConfig
    from captioner.inference.captioner import Captioner
    from captioner.model.checkpoint import load_checkpoint
    from captioner.model.hub import find_model
    from captioner.training.learner import uses_bf16
    from captioner.training.noise import Noise, PlacedDropout
    from captioner.training.objectives import Loss, cross_entropy, self_critical
    from captioner.training.reward import Reward

    from .ours import features_of

    captioner = Captioner.from_pretrained(model, device="cpu")
    # A captioner's own decoder is folded for captioning and cannot be learnt.
    decoder, noise = load_checkpoint(find_model(model).folder).decoder.train(), Noise(0)
    decoder.dropout = PlacedDropout(captioner.model.config.decoder.dropout, noise)
    features = features_of(captioner, pictures)
    texts = _texts(data)
    words = _batch(captioner, texts)
    reward = Reward(texts, captioner.model.vocabulary)
    narrow = uses_bf16(TrainingConfig(), torch.device("cpu"))

    def lap(what: str, bf16: bool = narrow) -> Any:
        if what == "facts":
            return {"bf16": float(narrow), **_padding(captioner, texts)}
        noise.place(step=0, first=0, pictures=len(features))
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss: Loss
            if what == "self_critical":
                judge = partial(reward.of, range(len(features)))
                longest = captioner.search.max_length
                loss = self_critical(decoder, features, judge, samples=5, max_length=longest, noise=noise)
            else:
                loss = cross_entropy(decoder, features, words, label_smoothing=0.1, own_words=0.0, noise=noise)
        decoder.zero_grad()
        loss.total.backward()
        return loss.words

    return lap


def textbook(model: str | None, pictures: Sequence[str], data: str | None) -> Callable[[], int]:
    """A lap learns from the same batch, word by word; before, that the loss is the same is made sure of."""
    import torch

    from captioner.inference.captioner import Captioner
    from captioner.model.checkpoint import load_checkpoint
    from captioner.model.hub import find_model
    from captioner.text.vocabulary import PADDING
    from captioner.training.noise import Noise
    from captioner.training.objectives import cross_entropy

    from .ours import features_of
    from .textbook import Textbook

    captioner = Captioner.from_pretrained(model, device="cpu")
    features, words = features_of(captioner, pictures), _batch(captioner, _texts(data))
    decoder = Textbook(captioner.model.decoder.state_dict(), captioner.model.config.decoder)
    ours = load_checkpoint(find_model(model).folder).decoder
    with torch.no_grad():
        plain = decoder.eval().loss(features, words, label_smoothing=0.1)
        same = cross_entropy(ours, features, words, label_smoothing=0.1, own_words=0.0, noise=Noise(0))
    torch.testing.assert_close(plain, same.total, rtol=1e-4, atol=0.0)
    decoder.train()
    count = int((words.targets != PADDING).sum())

    def lap() -> int:
        decoder.zero_grad()
        decoder.loss(features, words, label_smoothing=0.1).backward()  # type: ignore[no-untyped-call]
        return count

    return lap


def bare_lstm(model: str | None, pictures: Sequence[str], data: str | None) -> Callable[..., int]:
    """A lap learns the same captions with embeddings, `nn.LSTM` and a linear layer, and never looks at the picture.

    Or it runs only the recurrent layer, ours or PyTorch's, forward and backward over the same inputs.
    """
    import torch
    from torch import nn
    from torch.nn import functional as F

    from captioner.inference.captioner import Captioner
    from captioner.model.cells import CellState, LSTMCell
    from captioner.text.vocabulary import PADDING

    captioner = Captioner.from_pretrained(model, device="cpu")
    sizes = captioner.model.config.decoder
    words = _batch(captioner, _texts(data))
    inputs, targets = words.inputs.flatten(0, 1), words.targets.flatten(0, 1)
    real = targets != PADDING
    embedding = nn.Embedding(len(captioner.model.vocabulary), sizes.embedding_size)
    lstm = nn.LSTM(sizes.embedding_size, sizes.hidden_size, batch_first=True)
    output = nn.Linear(sizes.hidden_size, len(captioner.model.vocabulary))
    cell = LSTMCell(sizes.embedding_size, sizes.hidden_size)
    network = nn.ModuleList([embedding, lstm, output, cell])

    def our_cell(embedded: "torch.Tensor") -> "torch.Tensor":
        blank = embedded.new_zeros(len(embedded), sizes.hidden_size)
        state, said = CellState(blank, blank), []
        for projected in cell.project(embedded).unbind(dim=1):
            state, _ = cell.step(projected, state)
            said.append(state.hidden)
        return torch.stack(said, dim=1)

    def lap(what: str = "learning") -> int:
        network.zero_grad()
        embedded = embedding(inputs)
        said = our_cell(embedded) if what == "our cell" else lstm(embedded)[0]
        loss = F.cross_entropy(output(said[real]), targets[real], reduction="sum") if what == "learning" else said.sum()
        loss.backward()
        return int(real.sum())

    return lap


def _texts(data: str | None) -> list[list[str]]:
    """The captions of the training pictures of a collection, five or so for each."""
    if data is not None:
        from captioner.data.collection import load_collection

        return [list(captions) for captions in load_collection(Path(data))["train"]["captions"]]
    from captioner.data.shapes import draw

    return [list(drawing.captions) for drawing in draw(_COLLECTION, size=32, seed=0)]


def _batch(captioner: "Captioner", texts: Sequence[Sequence[str]]) -> "Words":
    """One of our batches: of middling length, among those of an epoch."""
    from captioner.data.batches import pad

    batches = [pad(captions) for captions in _epoch(captioner, texts) if len(captions) == PICTURES]
    return sorted(batches, key=lambda words: words.inputs.shape[-1])[len(batches) // 2]


def _epoch(captioner: "Captioner", texts: Sequence[Sequence[str]]) -> Iterator[list[list[list[int]]]]:
    """The captions of each batch of an epoch."""
    from captioner.data.batches import epoch_batches

    captions = _encoded(captioner, texts)
    for pictures in epoch_batches(captions, pictures_per_batch=PICTURES, seed=0, epoch=0):
        yield [captions[picture] for picture in pictures]


def _encoded(captioner: "Captioner", texts: Sequence[Sequence[str]]) -> list[list[list[int]]]:
    return [[captioner.model.vocabulary.encode(text) for text in row] for row in texts]


def _padding(captioner: "Captioner", texts: Sequence[Sequence[str]]) -> dict[str, float]:
    """The mean share of padding in our batches, and in batches of pictures as they come."""
    from captioner.data.batches import pad
    from captioner.text.vocabulary import PADDING

    captions = _encoded(captioner, texts)
    shuffled = [captions[first : first + PICTURES] for first in range(0, len(captions), PICTURES)]
    return {
        name: statistics.mean(float((pad(batch).targets == PADDING).float().mean()) for batch in batches)
        for name, batches in (("ours", _epoch(captioner, texts)), ("shuffled", shuffled))
    }
