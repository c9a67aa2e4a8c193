"""What people would use instead: BLIP-base and ViT-GPT2 through transformers, beside Captioner, from file to caption.

Where the published weights are not in the local cache the same architecture gets random ones, which cost the same:
every peer says captions of one given length, that of our own.
"""

import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

from .contestant import Contestant
from .figures import Figure, Plan, figure, paired, take_turns, worst

PICTURES = 256
"""Captioned by us in a lap, in bulk; the peers take seconds for each, and get 2 or 8 of them."""
SIZES = (1, 8)
"""How many pictures a peer captions together."""
PEERS = {"BLIP-base, beam 3": ("blip", 120), "ViT-GPT2, beam 4": ("vit_gpt2", 60)}
"""Each with its task and how many times as fast we must be."""


class _Timed(NamedTuple):
    """What the rounds gave."""

    seconds: dict[str, list[float]]
    """For a picture, by who captioned it and how many at a time."""
    same: list[float]
    """Shares of our captions that were those given untimed."""
    whole: list[float]
    """Shares of the peers' captions that had the asked length."""
    weights: dict[str, str]
    tokens: int
    """Said by the peers about each picture: as many as we say words, and the end."""


def measure(plan: Plan) -> list[Figure]:
    """How many times as long the peers take for a picture, each at the batch size that suits it best."""
    timed = _time(plan)
    figures = []
    for name, (_, bar) in PEERS.items():
        ratios = {size: paired(timed.seconds[_at_a_time(name, size)], timed.seconds["ours"]) for size in SIZES}
        best = min(ratios, key=lambda size: statistics.median(ratios[size]))
        note = f"{timed.weights[name]}, {best} at a time"
        figures.append(figure(f"{name} / Captioner", ratios[best], "times", at_least=bar, note=note))
    return [
        *figures,
        worst("our captions as untimed", timed.same, at_least=1.0, note="the worst round"),
        worst("peers' captions as long as asked", timed.whole, at_least=1.0, note=f"{timed.tokens} tokens"),
        *(figure(name, [1000 * each for each in seconds], "ms a picture") for name, seconds in timed.seconds.items()),
    ]


def _time(plan: Plan) -> _Timed:
    with ExitStack() as opened:
        ours = opened.enter_context(
            Contestant("ours:bulk", threads=plan.threads, model=plan.model, pictures=plan.pictures[:PICTURES])
        )
        tokens = round(ours.lap(count=PICTURES).answer["words"]) + 1
        peers = {
            name: opened.enter_context(Contestant(f"peers:{task}", threads=plan.threads, tokens=tokens))
            for name, (task, _) in PEERS.items()
        }
        most = max(SIZES)  # the largest batch warms a peer up for all
        weights = {
            name: peer.lap(pictures=plan.pictures[:most], batch_size=most).answer["weights"]
            for name, peer in peers.items()
        }

        def captions_of_ours() -> tuple[float, float]:
            lap = ours.lap(count=PICTURES)
            return lap.seconds / PICTURES, lap.answer["same"]

        def captions_of(peer: Contestant, size: int) -> tuple[float, float]:
            pictures = plan.pictures[: max(2, size)]
            lap = peer.lap(pictures=pictures, batch_size=size)
            return lap.seconds / len(pictures), lap.answer["whole"]

        laps: dict[str, Callable[[], tuple[float, float]]] = {"ours": captions_of_ours}
        for name, peer in peers.items():
            laps |= {_at_a_time(name, size): partial(captions_of, peer, size) for size in SIZES}
        answers = take_turns(laps, plan.rounds, warm=laps)
    seconds = {name: [each for each, _ in answer] for name, answer in answers.items()}
    shares = {name: [share for _, share in answer] for name, answer in answers.items()}
    same = shares.pop("ours")
    return _Timed(seconds, same, [share for of_peer in shares.values() for share in of_peer], weights, tokens)


def _at_a_time(name: str, size: int) -> str:
    return f"{name}, {size} at a time"


def blip(tokens: int) -> Callable[..., dict[str, Any]]:
    """BLIP-base (Li et al. 2022) with beam 3; its pictures have 384 pixels."""
    from transformers import BlipConfig, BlipForConditionalGeneration, BlipImageProcessor

    # The published configuration, where it differs from the library's defaults.
    config = BlipConfig(text_config={"num_attention_heads": 12}, vision_config={"initializer_range": 0.02})
    model, weights = _load(BlipForConditionalGeneration, "Salesforce/blip-image-captioning-base", config)
    return _captioning(model, BlipImageProcessor(), weights, beams=3, tokens=tokens)


def vit_gpt2(tokens: int) -> Callable[..., dict[str, Any]]:
    """ViT-base and GPT-2, as nlpconnect/vit-gpt2-image-captioning, with beam 4; its pictures have 224 pixels."""
    from transformers import GPT2Config, VisionEncoderDecoderConfig, VisionEncoderDecoderModel, ViTConfig
    from transformers import ViTImageProcessor as Processor

    # With the library's defaults both are the published ones.
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(ViTConfig(), GPT2Config(pad_token_id=50256))
    config.decoder_start_token_id, config.pad_token_id = 50256, 50256
    model, weights = _load(VisionEncoderDecoderModel, "nlpconnect/vit-gpt2-image-captioning", config)
    return _captioning(model, Processor(), weights, beams=4, tokens=tokens)


def _load(kind: Any, name: str, config: Any) -> tuple[Any, str]:
    """The published model from the local cache, or its like with random weights; and which of them."""
    import torch

    try:
        return kind.from_pretrained(name, local_files_only=True), "published weights"
    except OSError:
        torch.manual_seed(0)
        return kind(config), "random weights"


def _captioning(model: Any, processor: Any, weights: str, *, beams: int, tokens: int) -> Callable[..., dict[str, Any]]:
    """The lap: files to token ids, `batch_size` pictures at a time; says what share of them has the asked length."""
    import torch
    from PIL import Image

    model.eval()
    model.generation_config.max_length = None  # so that max_new_tokens alone decides

    @torch.inference_mode()
    def lap(pictures: Sequence[str], batch_size: int) -> dict[str, Any]:
        lengths = []
        for first in range(0, len(pictures), batch_size):
            opened = [Image.open(path).convert("RGB") for path in pictures[first : first + batch_size]]
            pixels = processor(images=opened, return_tensors="pt")["pixel_values"]
            said = model.generate(
                pixel_values=pixels, num_beams=beams, do_sample=False, min_new_tokens=tokens, max_new_tokens=tokens
            )
            lengths += [len(each) - 1 for each in said]  # without the start token
        whole = sum(length == tokens for length in lengths) / len(lengths)
        return {"whole": whole, "weights": weights}

    return lap
