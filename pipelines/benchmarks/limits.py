"""What the machine could do at best, in the same run: matrix products, memory, JPEG files, the CNN alone."""

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

from .contestant import Contestant, Lap
from .figures import Figure, Plan, figure, paired, take_turns
from .ours import precision

PICTURES = 32
SIZES = (512, 1024, 2048)
"""Sides of the square matrices that are multiplied; the best counts."""
_BYTES = 1 << 28
"""Copied, far more than any cache holds."""


def measure(plan: Plan) -> list[Figure]:
    """The ceilings, and how near to them the search, the CNN and captioning as a whole come."""
    pictures = plan.pictures[:PICTURES]
    with ExitStack() as opened:

        def enter(task: str, **settings: Any) -> Contestant:
            return opened.enter_context(Contestant(task, threads=plan.threads, **settings))

        asked = {"model": plan.model, "pictures": pictures}
        machine, search = enter("limits:machine"), enter("limits:counted_search", **asked)
        encoder, decoding = enter("limits:counted_encoder", **asked), enter("limits:jpeg", **asked)
        bulk = enter("ours:bulk", **asked)
        turns: dict[str, Callable[[], Lap]] = {
            "float32": partial(machine.lap, what="products", dtype="float32"),
            "bfloat16": partial(machine.lap, what="products", dtype="bfloat16"),
            "copy": partial(machine.lap, what="copy"),
            "search": search.lap,
            "encoder": encoder.lap,
            "jpeg": decoding.lap,
            "bulk": partial(bulk.lap, count=PICTURES),
        }
        answers = take_turns(turns, plan.rounds)
    roof = precision(plan.model)
    told = {name: [lap.answer for lap in laps] for name, laps in answers.items()}
    rates = {name: [PICTURES / lap.seconds for lap in answers[name]] for name in ("jpeg", "encoder", "bulk")}
    gflops = {
        name: [flop / lap.seconds / 1e9 for flop, lap in zip(told[name], answers[name], strict=True)]
        for name in ("search", "encoder")
    }
    return [
        figure("matrix products, float32", told["float32"], "GFLOP/s"),
        figure("matrix products, bfloat16", told["bfloat16"], "GFLOP/s"),
        figure("memory, copied", told["copy"], "GB/s"),
        figure(
            "search / matrix products",
            paired(gflops["search"], told[roof]),
            "share",
            at_least=0.5,
            note=f"of its products, counted, in {roof}",
        ),
        figure("CNN / matrix products", paired(gflops["encoder"], told[roof]), "share", note=f"in {roof}"),
        figure("JPEG files decoded alone", rates["jpeg"], "pictures/s", note="one process"),
        figure("CNN alone", rates["encoder"], "pictures/s"),
        figure("files to written captions", rates["bulk"], "pictures/s"),
        figure("files to captions / CNN alone", paired(rates["bulk"], rates["encoder"]), "share"),
    ]


def machine() -> Callable[..., float]:
    """A lap multiplies matrices (GFLOP/s of the best size), or copies memory (GB/s, read and written).

    Both of PyTorch's ways are tried, plain and with packed weights, as our products are.
    """
    import time

    import torch
    from torch import nn

    from captioner.model.packing import pack

    source, target = torch.ones(2, _BYTES // 4).unbind()

    def rate(work: Callable[[], Any], amount: float) -> float:
        work()
        began = time.perf_counter()
        work()
        work()
        return 2 * amount / (time.perf_counter() - began) / 1e9

    @torch.no_grad()
    def lap(what: str, dtype: str = "float32") -> float:
        if what == "copy":
            return rate(lambda: target.copy_(source), 2 * _BYTES)
        best = 0.0
        for size in SIZES:
            left, right = torch.rand(2, size, size).to(getattr(torch, dtype)).unbind()
            best = max(best, rate(partial(torch.mm, left, right), 2 * size**3))
            layer = nn.Linear(size, size, bias=False)
            pack(layer, getattr(torch, dtype))
            best = max(best, rate(partial(layer, left.float()), 2 * size**3))
        return best

    return lap


def counted_search(model: str | None, pictures: Sequence[str]) -> Callable[[], int]:
    """A lap searches all pictures together and tells how many floating-point operations its products take."""
    from captioner.inference.captioner import Captioner

    from .ours import beam_alone, features_of

    captioner = Captioner.from_pretrained(model, device="cpu")
    features = features_of(captioner, pictures)
    return _counted(lambda: captioner.model.search(features, beam_alone(captioner)))


def counted_encoder(model: str | None, pictures: Sequence[str]) -> Callable[[], int]:
    """A lap encodes all pictures, as many together as in bulk, and tells how many operations that takes."""
    from .ours import BATCH, encoding

    return _counted(partial(encoding(model, pictures), batch_size=BATCH))


def jpeg(model: str | None, pictures: Sequence[str]) -> Callable[[], None]:
    """A lap opens and decodes all pictures, and does nothing else with them."""
    from captioner.inference.captioner import Captioner

    preprocessing = Captioner.from_pretrained(model, device="cpu").model.encoder.preprocessing

    def lap() -> None:
        for picture in pictures:
            preprocessing.open(picture)

    return lap


def _counted(work: Callable[[], Any]) -> Callable[[], int]:
    """The same work, which now tells its operations; they are counted once, untimed."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    def product(inputs: Sequence[int], *_: Any, out_shape: Sequence[int], **__: Any) -> int:
        return 2 * math.prod(inputs) * out_shape[-1]

    def convolution(_: Any, kernel: Sequence[int], *__: Any, out_shape: Sequence[int], **___: Any) -> int:
        return 2 * math.prod(out_shape) * math.prod(kernel) // out_shape[1]

    # PyTorch does not count what oneDNN does with packed weights by itself.
    ways = {"_linear_pointwise": product, "_convolution_pointwise": convolution}
    packed = {getattr(torch.ops.mkldnn, name): way for name, way in ways.items() if hasattr(torch.ops.mkldnn, name)}
    with FlopCounterMode(display=False, custom_mapping=packed) as counter:
        work()
    operations = int(counter.get_total_flops())

    def lap() -> int:
        work()
        return operations

    return lap
