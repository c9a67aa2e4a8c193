"""The whole network: a CNN encoder, a recurrent decoder and the words it may say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from captioner.config import Config, SearchConfig
from captioner.errors import ConfigError
from captioner.model.cells import Gates
from captioner.model.decoder import Decoder, Said, State, build_decoder, word_log_probabilities
from captioner.model.device import knows_bf16
from captioner.model.encoder import Encoder, build_encoder
from captioner.model.watching import Watch
from captioner.search.beam import beam_search, check_beam
from captioner.search.constraints import Constraints
from captioner.search.greedy import greedy_search
from captioner.search.hypothesis import Hypothesis
from captioner.search.sampling import check_sampling, sample
from captioner.search.tree import Recorder
from captioner.text.consensus import likeness_table, order_by_consensus
from captioner.text.steering import NO_RULES, WordRules
from captioner.text.vocabulary import END, START, Vocabulary


class Trace(NamedTuple):
    """What the network computed while it said one caption; time runs over its words and the end token."""

    log_probabilities: Tensor
    """(time,): of each word, given those before it."""
    distributions: Tensor
    """(time, vocabulary): log-probabilities of all words it could have said instead; -inf for what is no word."""
    weights: Tensor | None
    """(time, regions[, + 1 for the sentinel]): where each word looked; None without attention."""
    gates: list[Gates]
    """Of each word, tensors (hidden,)."""
    memory: Tensor
    """(time + 1, hidden): what the speaking cell remembers before the first word and after each step."""


class CaptioningModel(nn.Module):
    """Pictures in, captions out."""

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
        vocabulary: Vocabulary,
        config: Config,
        *,
        precision: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.vocabulary = vocabulary
        self.config = config
        self.precision = precision
        """What it shall compute in once it is made for inference: float32, or bfloat16 where the device knows that."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.decoder.device

    @property
    def precision_here(self) -> torch.dtype:
        """What it computes in on this device once it is made for inference; on a GPU the CNN alone does."""
        return self.precision if knows_bf16(self.device) else torch.float32

    def for_inference(self) -> CaptioningModel:
        """This model, its weights folded together so that it answers sooner; from now on they must not change."""
        self.encoder.fuse(self.precision_here)
        self.decoder.fold(self.precision_here)
        return self.eval()

    def look(self, pixels: Tensor, *, mirror: bool) -> Tensor:
        """What is searched with: uint8 pixels (pictures, 3, size, size) -> features (pictures, regions, feature_size).

        With `mirror` the mean of what the CNN sees in each picture and in its mirror image; see `mean_look`.
        """
        features: Tensor = self.encoder(pixels)
        return self.mean_look(features, self.encoder(pixels.flip(-1))) if mirror else features

    def mean_look(self, features: Tensor, mirrored: Tensor) -> Tensor:
        """The mean of the features of pictures and of their mirror images, region by region of the picture itself."""
        rows, columns = self.encoder.grid_height, self.encoder.grid_width
        turned = mirrored.reshape(len(mirrored), rows, columns, -1).flip(2).flatten(1, 2)
        return (features + turned) / 2

    def next_word(self, words: Tensor, state: State) -> tuple[Tensor, State]:
        """The step a search takes: last words (pictures, rows) -> log-probabilities of the next, new state."""
        said = self.decoder.step(self.decoder.embed(words), state)
        return word_log_probabilities(self.decoder, said.output), said.state

    def constraints(self, settings: SearchConfig, rules: WordRules = NO_RULES) -> Constraints:
        """What a search with these settings and rules holds to.

        Raises ConfigError when no caption can, or when a setting is out of its range.
        """
        if settings.method == "sample":
            check_sampling(temperature=settings.temperature, top_k=settings.top_k or None, top_p=settings.top_p)
        else:
            check_beam(
                beam_width=settings.beam_width,
                groups=settings.groups,
                diversity=settings.diversity,
                length_exponent=settings.length_exponent,
            )
            if not 0 <= settings.consensus < math.inf:
                raise ConfigError(
                    f"The consensus must be a finite number, 0 or more, but {settings.consensus} came; 0 is none."
                )
        constraints = Constraints(
            end=END,
            min_length=settings.min_length,
            max_length=settings.max_length,
            no_repeat_ngram=settings.no_repeat_ngram,
            forbidden=rules.forbidden,
            required=rules.required,
            beginning=rules.beginning,
        )
        constraints.automaton()
        return constraints

    def watch(self) -> Watch:
        """Give it to one `search`, and ask it afterwards what the network weighed at each word of a caption."""
        return Watch(self.decoder, regions=self.encoder.regions)

    @torch.inference_mode()
    def search(
        self,
        features: Tensor,
        settings: SearchConfig,
        *,
        best: int = 1,
        rules: WordRules = NO_RULES,
        keys: Sequence[int] | None = None,
        recorder: Recorder | None = None,
        watch: Watch | None = None,
    ) -> list[list[Hypothesis]]:
        """The `best` captions of each picture, best first, from features (pictures, regions, feature_size).

        With `settings.consensus` all captions of the beam are put in its order before the `best` are taken, but not
        those of groups, which are asked for where unlike captions are wanted. A beam one wide is greedy search and
        gives one caption, unless words are required or a recorder wants its tree. Sampling draws `best` captions; what
        it draws for a picture depends on the seed and on the picture's number in `keys` (default: its place in the
        batch). A new `watch` will know what was computed for the captions found.

        Raises ConfigError when no caption can obey the rules.
        """
        constraints = self.constraints(settings, rules)
        state = self.decoder.start(features, rows=1)
        step = self.next_word if watch is None else watch.step
        pictures, device = len(features), features.device
        if settings.method == "sample":
            return sample(
                step,
                state,
                start=START,
                constraints=constraints,
                keys=range(pictures) if keys is None else keys,
                draws=best,
                seed=settings.seed,
                temperature=settings.temperature,
                top_k=settings.top_k or None,
                top_p=settings.top_p,
                device=device,
            )
        if settings.beam_width == 1 and not rules.required and recorder is None:
            only = greedy_search(step, state, pictures=pictures, start=START, constraints=constraints, device=device)
            return [[caption] if caption.log_probability > -torch.inf else [] for caption in only]
        consenting = settings.consensus > 0 and settings.groups == 1
        found = beam_search(
            step,
            state,
            pictures=pictures,
            start=START,
            constraints=constraints,
            beam_width=settings.beam_width,
            best=max(best, settings.beam_width) if consenting else best,
            length_exponent=settings.length_exponent,
            groups=settings.groups,
            diversity=settings.diversity,
            recorder=recorder,
            device=device,
        )
        if not consenting:
            return found
        return [_by_consensus(captions, settings.consensus)[:best] for captions in found]

    def trace(self, features: Tensor, words: Sequence[int]) -> Trace:
        """Say the given words about one picture, features (regions, feature_size), and watch."""
        [only] = self.traces(features.unsqueeze(0), [words])
        return only

    @torch.inference_mode()
    def traces(self, features: Tensor, captions: Sequence[Sequence[int]]) -> list[Trace]:
        """Say one caption about each picture, features (pictures, regions, feature_size), and watch.

        They are said together, each word in one step for all. The shapes of all products depend on how many
        pictures there are and on a picture's own caption, but never on how long the other captions are.
        """
        before = [[START, *caption] for caption in captions]
        longest = max(map(len, before))
        words = torch.tensor([[*said, *[END] * (longest - len(said))] for said in before], device=self.device)
        state = self.decoder.start(features, rows=1)
        cell = self.decoder.speaking_cell
        steps, memory = [], [state.cell(cell).memory]
        for time in range(longest):
            steps.append(self.decoder.step(self.decoder.embed(words[:, time : time + 1]), state))
            state = steps[-1].state
            memory.append(state.cell(cell).memory)
        return [
            self._trace(caption, picture, steps[: len(caption) + 1], memory[: len(caption) + 2])
            for picture, caption in enumerate(captions)
        ]

    def _trace(self, caption: Sequence[int], picture: int, steps: Sequence[Said], memory: Sequence[Tensor]) -> Trace:
        """What the steps of a batch were for one of its pictures; `memory` is that before the first and after each."""
        distributions = word_log_probabilities(self.decoder, torch.stack([said.output[picture, 0] for said in steps]))
        after = torch.tensor([*caption, END], device=self.device)
        weights = [said.weights[picture, 0] for said in steps if said.weights is not None]
        return Trace(
            log_probabilities=distributions.gather(1, after.unsqueeze(1)).squeeze(1),
            distributions=distributions,
            weights=torch.stack(weights) if weights else None,
            gates=[said.gates.of_row(picture, 0) for said in steps],
            memory=torch.stack([each[picture, 0] for each in memory]),
        )


def _by_consensus(captions: list[Hypothesis], temperature: float) -> list[Hypothesis]:
    """One picture's captions, which come best first, with the one most like all of them first."""
    table = likeness_table([caption.words for caption in captions])
    log_probabilities = [caption.log_probability for caption in captions]
    return [captions[number] for number in order_by_consensus(table, log_probabilities, temperature=temperature)]


def build_model(config: Config, vocabulary: Vocabulary) -> CaptioningModel:
    """An untrained captioner: the encoder with the weights the recipe names, the decoder random."""
    encoder = build_encoder(config.encoder.name, weights=config.encoder.weights, size=config.encoder.size)
    decoder = build_decoder(config.decoder, feature_size=encoder.feature_size, vocabulary_size=len(vocabulary))
    return CaptioningModel(encoder, decoder, vocabulary, config)
