"""What people would use instead: BLIP-base and ViT-GPT2 through transformers, beside Captioner, from file to caption.

Where the published weights are not in the local cache the same architecture gets random ones, which cost the same:
every peer says captions of one given length, that of our own.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

from .contestant import Contestant
from .figures import Figure, Plan, figure, paired, take_turns

PICTURES = 64
"""Captioned by us in a lap; the peers take seconds for each, and get 2 one by one, or 8 together."""
PEERS = {"BLIP-base, beam 3": ("blip", 120), "ViT-GPT2, beam 4": ("vit_gpt2", 60)}
"""Each with its task and how many times as fast we must be."""


def measure(plan: Plan) -> list[Figure]:
    """How many times as long the peers take for a picture, each at the batch size that suits it best."""
    with ExitStack() as opened:

        def enter(task: str, **settings: Any) -> Contestant:
            return opened.enter_context(Contestant(task, threads=plan.threads, **settings))

        ours = enter("ours:bulk", model=plan.model, pictures=plan.pictures[:PICTURES])
        words = ours.lap(count=PICTURES).answer["words"]
        tokens = round(words) + 1  # and the end
        peers = {name: enter(f"peers:{task}", tokens=tokens) for name, (task, _) in PEERS.items()}

        def captions_of_ours() -> tuple[float, float]:
            lap = ours.lap(count=PICTURES)
            return lap.seconds / PICTURES, lap.answer["same"]

        def captions_of(peer: Contestant, batch_size: int) -> tuple[float, float]:
            pictures = plan.pictures[: max(2, batch_size)]
            lap = peer.lap(pictures=pictures, batch_size=batch_size)
            return lap.seconds / len(pictures), lap.answer["whole"]

        laps: dict[str, Callable[[], tuple[float, float]]] = {"ours": captions_of_ours}
        for name, peer in peers.items():
            laps |= {f"{name}, {size} at a time": partial(captions_of, peer, size) for size in (1, 8)}
        answers = take_turns(laps, plan.rounds)
        weights = {name: peer.lap(pictures=[], batch_size=1).answer["weights"] for name, peer in peers.items()}
    seconds = {name: [each for each, _ in answer] for name, answer in answers.items()}
    right = [share for answer in answers.values() for _, share in answer]
    figures = []
    for name, (_, bar) in PEERS.items():
        of_sizes = [
            figure(f"{name}, {size} at a time", paired(seconds[f"{name}, {size} at a time"], seconds["ours"]), "times")
            for size in (1, 8)
        ]
        best = min(of_sizes, key=lambda each: each.value or 0.0)
        size = best.name.rpartition(", ")[2]
        note = f"{weights[name]}, {size}"
        figures.append(Figure(f"{name} / Captioner", best.value, "times", best.low, best.high, bar, note=note))
    absolute = [figure(name, [1000 * each for each in times], "ms a picture") for name, times in seconds.items()]
    checked = figure("captions as they must be", right, "share", at_least=1.0, note=f"peers say {tokens} tokens")
    return [*figures, checked, *absolute]


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
        whole = sum(length == tokens for length in lengths) / max(1, len(lengths))
        return {"whole": whole, "weights": weights}

    return lap
