"""What several sections ask of Captioner itself: a folder captioned, features searched, pictures encoded."""

import operator
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from captioner.config import SearchConfig
    from captioner.inference.bulk import Captioned
    from captioner.inference.captioner import Captioner

BATCH = 16
"""Pictures captioned together in bulk, as `captioner caption` does on a processor."""


def precision(model: str | None) -> str:
    """What the model computes in on this machine's processor, as PyTorch calls it."""
    from captioner.inference.captioner import Captioner
    from captioner.model.checkpoint import load_checkpoint
    from captioner.model.hub import find_model

    return Captioner(load_checkpoint(find_model(model).folder)).precision


def bulk(model: str | None, pictures: Sequence[str]) -> Callable[..., dict[str, Any]]:
    """Files to written captions.

    A lap captions the first `count` pictures and says how many captions are those given untimed, and how many words
    they have on average.
    """
    from captioner.inference.captioner import Captioner

    captioner = Captioner.from_pretrained(model, device="cpu")
    batches = in_bulk(captioner)
    expected: list[str | None] = []

    def lap(count: int) -> dict[str, Any]:
        said = [captioned.caption.text for batch in batches(pictures[:count]) for captioned in batch]
        if len(said) > len(expected):  # untimed: the caller's warm-up is the longest lap
            expected[:] = [caption.text for caption in captioner.caption_each(pictures[:count])]
        return {
            "same": sum(map(operator.eq, said, expected)) / count,
            "words": sum(len(text.split()) for text in said if text) / count,
        }

    return lap


def in_bulk(captioner: "Captioner") -> "Callable[[Sequence[str]], Iterator[Sequence[Captioned]]]":
    """Files to captions as `captioner caption FOLDER --out FILE --candidates 1`: gives each batch once it is written.

    One caption of each picture, as the peers are asked for.
    """
    import torch

    from captioner.data.decoding import Decoders
    from captioner.data.listing import list_items
    from captioner.inference.bulk import caption_all
    from captioner.inference.destinations import OneFile
    from captioner.inference.records import RecordStyle

    workers = max(1, torch.get_num_threads() // 2)
    describing = captioner.describer(candidates=1)
    decoding = Decoders(captioner.model.encoder.preprocessing, workers=workers, ahead=4 * BATCH)
    torch.set_num_threads(workers)  # half for the CNN and half for the search, which overlap

    def batches(pictures: Sequence[str]) -> "Iterator[Sequence[Captioned]]":
        with tempfile.TemporaryDirectory() as folder:
            place = OneFile(Path(folder, "captions.jsonl"), "jsonl", RecordStyle({}), already_there="fail")
            items = list_items(list(pictures))
            yield from caption_all(
                items, place, decoding=decoding, describing=describing, batch_size=BATCH, filled=True
            )
            place.close()

    return batches


def searching(model: str | None, pictures: Sequence[str]) -> Callable[..., list[list[int]]]:
    """Features to captions, the best of each picture; the features are computed beforehand.

    A lap searches all pictures, `batch_size` at a time, and gives the words' ids.
    """
    from captioner.inference.captioner import Captioner

    captioner = Captioner.from_pretrained(model, device="cpu")
    network, features, settings = captioner.model, features_of(captioner, pictures), beam_alone(captioner)

    def lap(batch_size: int) -> list[list[int]]:
        found = [each for batch in features.split(batch_size) for each in network.search(batch, settings)]
        return [list(hypotheses[0].words) for hypotheses in found]

    return lap


def encoding(model: str | None, pictures: Sequence[str]) -> Callable[..., None]:
    """Decoded pixels to features. A lap encodes all pictures, `batch_size` at a time."""
    import torch

    from captioner.inference.captioner import Captioner

    captioner = Captioner.from_pretrained(model, device="cpu")
    pixels = pixels_of(captioner, pictures)

    @torch.inference_mode()
    def lap(batch_size: int) -> None:
        for batch in pixels.split(batch_size):
            captioner.model.encoder(batch)

    return lap


def beam_alone(captioner: "Captioner") -> "SearchConfig":
    """The model's search, without what may come after the beam."""
    from dataclasses import replace

    return replace(captioner.search, consensus=0.0)


def pixels_of(captioner: "Captioner", pictures: Sequence[str]) -> "Tensor":
    """Pictures as the encoder takes them: uint8 (pictures, 3, size, size)."""
    import numpy as np
    import torch

    return torch.from_numpy(np.stack([captioner.model.encoder.preprocessing.read(picture) for picture in pictures]))


def features_of(captioner: "Captioner", pictures: Sequence[str]) -> "Tensor":
    """Features (pictures, regions, feature_size), which can be learnt from too."""
    import torch

    with torch.no_grad():
        features: Tensor = captioner.model.encoder(pixels_of(captioner, pictures))
    return features
