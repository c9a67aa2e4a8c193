"""What several sections ask of Captioner itself: a folder captioned, features searched, pictures encoded."""

import operator
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from captioner.config import SearchConfig
    from captioner.inference.captioner import Captioner

BATCH = 16
"""Pictures captioned together in bulk, as `captioner caption` does on a processor."""


def bulk(model: str | None, pictures: Sequence[str]) -> Callable[..., dict[str, Any]]:
    """Files to written captions, as `captioner caption FOLDER --out` does it.

    A lap captions the first `count` pictures and says how many captions are those given untimed, how many words they
    have on average, and the greatest memory of the process so far in MB.
    """
    import resource

    import torch

    from captioner.data.decoding import Decoders
    from captioner.data.listing import list_items
    from captioner.inference.bulk import caption_all
    from captioner.inference.captioner import Captioner
    from captioner.inference.destinations import OneFile
    from captioner.inference.records import RecordStyle

    threads = torch.get_num_threads()
    captioner = Captioner.from_pretrained(model, device="cpu")
    expected: list[str | None] = []
    describing = captioner.describer()
    workers = max(1, threads // 2)
    decoding = Decoders(captioner.model.encoder.preprocessing, workers=workers, ahead=4 * BATCH)
    torch.set_num_threads(workers)  # half for the CNN and half for the search, which overlap

    def lap(count: int) -> dict[str, Any]:
        said: list[str | None] = []
        with tempfile.TemporaryDirectory() as folder:
            place = OneFile(Path(folder, "captions.jsonl"), "jsonl", RecordStyle({}), already_there="fail")
            batches = caption_all(
                list_items(list(pictures[:count])),
                place,
                decoding=decoding,
                describing=describing,
                batch_size=BATCH,
                filled=True,
            )
            said += [captioned.caption.text for batch in batches for captioned in batch]
            place.close()
        if len(said) > len(expected):  # untimed: the caller's warm-up is the longest lap
            expected[:] = [caption.text for caption in captioner.caption_each(pictures[:count])]
        return {
            "same": sum(map(operator.eq, said, expected)) / count,
            "words": sum(len(text.split()) for text in said if text) / count,
            "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }

    return lap


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
