"""Many programs at once ask a page for captions: whether it stands, whether it says the same, and how fast it is.

python -m pipelines.load --requests 300
python -m pipelines.load --requests 10000 --clients 16 --out out/load.json
"""

from __future__ import annotations

import contextlib
import json
import random
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from . import run, write_text
from .benchmarks.figures import percentile
from .sent_pictures import HEAVY, Sent, heavy_file, odd_files, sound_pictures
from .served_page import ServedPage
from .visitor import Manner, Reply, Visitor

WISHES: tuple[dict[str, Any], ...] = (
    {},
    {},
    {},
    {"beginning": "a", "max_length": 12},
    {"method": "sample", "seed": 7},
)
"""What visitors wish for; most wish for nothing."""

_MANNERS: dict[Manner, int] = {
    "plain": 93,
    "slow": 2,
    "leaves during upload": 1,
    "leaves its answer": 1,
    "leaves while waiting": 3,
}
_ODD, _HEAVY = 0.07, 0.005
_WARM_UP = 0.1
_COLD_STARTS = 3


@dataclass(frozen=True)
class _Question:
    sent: Sent
    wishes: int
    """The place in WISHES."""
    manner: Manner

    @property
    def key(self) -> tuple[str, int]:
        """What its answer depends on."""
        return self.sent.name, self.wishes


@dataclass
class _Tally:
    """What came of the questions; written to by many threads under its lock."""

    counts: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    """Of plain questions that were answered with a caption."""
    complaints: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


def load(
    address: Annotated[str | None, typer.Argument(help="Of a page; one is started and ended if not given.")] = None,
    requests: Annotated[int, typer.Option(min=1, help="Questions in all.")] = 300,
    clients: Annotated[int, typer.Option(min=1, help="Programs that ask at a time.")] = 16,
    model: Annotated[Path | None, typer.Option(help="A folder, or USER/NAME; the shipped model if not given.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of what is asked, and by whom.")] = 0,
    cold: Annotated[bool, typer.Option("--cold", help="Only time how long a page takes to start.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the figures to this JSON file.")] = None,
) -> None:
    """Ask a page from many programs, some of them slow, some gone before they have their answer, some with odd files.

    Every answer is compared with the one given when nobody else asked. Ends with exit code 1 when one differs or the
    page fails. Memory is told of a page that this command starts, on Linux.
    """
    if out is not None:
        write_text(out, "", mode="a")  # says that it cannot before the minutes, not after
    if cold:
        figures = _time_starts(model)
    else:
        with contextlib.ExitStack() as started:
            page = started.enter_context(ServedPage(model)) if address is None else None
            where = page.address if page is not None else (address or "").rstrip("/") + "/"
            figures = _ask_all(where, page, requests=requests, clients=clients, seed=seed, model=model)
    for name, figure in figures.items():
        print(f"{name:44} {figure:.4g}" if isinstance(figure, float) else f"{name:44} {figure}")
    if out is not None:
        write_text(out, json.dumps(figures, indent=2) + "\n")
    if figures.get("wrong answers") or figures.get("failures"):
        raise typer.Exit(1)


def _ask_all(
    address: str, page: ServedPage | None, *, requests: int, clients: int, seed: int, model: Path | None
) -> dict[str, Any]:
    sound, odd, heavy = sound_pictures(seed), odd_files(seed), heavy_file()
    warm = max(clients, int(requests * _WARM_UP))
    asked = [_question(number, seed, sound, odd, heavy) for number in range(warm + requests)]
    alone, lone_seconds = _ask_alone(address, asked)
    # The page remembers the last 128 visitors, and weighs what it will when it has as many. The warm-up brings them
    # for 1,280 questions or more; with fewer, its memory may still grow by those who come later.
    warming = _ask_together(address, asked[:warm], alone, clients, strangers=True)
    before = page.megabytes() if page else None
    began = time.perf_counter()
    tally = _ask_together(address, asked[warm:], alone, clients)
    seconds = time.perf_counter() - began
    after = page.megabytes() if page else None
    told = page.complaints() if page else ""
    if told:
        tally.complaints.append(f"On the page's standard error: {told}")
    if page and not page.is_running():
        tally.counts["failed"] += 1
        tally.complaints.append("The page has ended.")
    complaints = [*warming.complaints, *tally.complaints]
    for complaint in complaints[:5]:
        print(complaint, file=sys.stderr)
    captioned = tally.counts["captioned"]
    figures: dict[str, Any] = {
        "questions": requests,
        "clients": clients,
        **{name: tally.counts[name] for name in ("captioned", "refused", "left without an answer", "told it is busy")},
        "wrong answers": tally.counts["wrong"] + warming.counts["wrong"],
        "failures": tally.counts["failed"] + warming.counts["failed"] + told.count("Traceback"),
        "seconds": round(seconds, 1),
        "ms, one at a time: median": 1000 * statistics.median(lone_seconds),
        "ms, under load: median": 1000 * statistics.median(tally.seconds or [0.0]),
        "ms, under load: 95th percentile": 1000 * percentile(tally.seconds or [0.0], 95),
        "captions a second, under load": captioned / seconds,
        "captions a second, in bulk": _bulk_rate(sound, model),
    }
    figures["under load / in bulk"] = figures["captions a second, under load"] / figures["captions a second, in bulk"]
    if before and after:
        figures |= {
            "MB after warming up: the page": before[0],
            "MB after warming up: with its readers": before[1],
            "MB more at the end: the page": after[0] - before[0],
            "MB more at the end: with its readers": after[1] - before[1],
        }
    return figures


def _question(number: int, seed: int, sound: Sequence[Sent], odd: Sequence[Sent], heavy: Sent) -> _Question:
    """The n-th question, the same in every run with this seed."""
    rng = random.Random(f"{seed} {number}")
    chance = rng.random()
    sent = heavy if chance < _HEAVY else rng.choice(odd if chance < _HEAVY + _ODD else sound)
    [manner] = rng.choices(list(_MANNERS), list(_MANNERS.values()))
    return _Question(sent, rng.randrange(len(WISHES)), manner)


def _ask_alone(address: str, questions: Sequence[_Question]) -> tuple[dict[tuple[str, int], Any], list[float]]:
    """The answers given when nobody else asks, by `_Question.key`, and the seconds that plain ones of them took."""
    alone: dict[tuple[str, int], Any] = {}
    seconds = []
    with Visitor(address) as visitor:
        for question in questions:
            if question.key not in alone:
                reply = visitor.ask(question.sent.name, question.sent.data, WISHES[question.wishes])
                alone[question.key] = reply.answer
                if not isinstance(reply.answer, str):
                    seconds.append(reply.seconds)
    return alone, seconds


def _ask_together(
    address: str,
    questions: Sequence[_Question],
    alone: dict[tuple[str, int], Any],
    clients: int,
    *,
    strangers: bool = False,
) -> _Tally:
    """Let so many clients take one question after the other until none is left, each as a stranger if so wished."""
    tally, waiting, taking = _Tally(), iter(questions), threading.Lock()

    def next_question() -> _Question | None:
        with taking:
            return next(waiting, None)

    def visit() -> None:
        import httpx

        with Visitor(address) as visitor:
            while question := next_question():
                if strangers:
                    visitor.become_another()
                try:
                    reply = visitor.ask(
                        question.sent.name, question.sent.data, WISHES[question.wishes], question.manner
                    )
                except httpx.HTTPError as error:
                    # Who sends too much may find the door shut before it has said everything.
                    reply = Reply(None if question.sent.name == HEAVY else f"No answer: {error!r}", 0, 0.0)
                _judge(tally, question, reply, alone)

    threads = [threading.Thread(target=visit) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return tally


def _judge(tally: _Tally, question: _Question, reply: Reply, alone: dict[tuple[str, int], Any]) -> None:
    """Count a reply, and note one that is not what it should be."""
    with tally.lock:
        if reply.answer is None:
            tally.counts["left without an answer"] += 1
        elif reply.status == 413:
            tally.counts["refused"] += 1
        elif isinstance(reply.answer, str) and "busy" in reply.answer:
            tally.counts["told it is busy"] += 1
        elif reply.status != 200:
            tally.counts["failed"] += 1
            tally.complaints.append(f"{question.sent.name}: {reply.status} {str(reply.answer)[:200]}")
        elif reply.answer != alone[question.key]:
            tally.counts["wrong"] += 1
            tally.complaints.append(f"{question.key}: {reply.answer} instead of {alone[question.key]}")
        else:
            tally.counts["refused" if isinstance(reply.answer, str) else "captioned"] += 1
            if question.manner == "plain" and not isinstance(reply.answer, str):
                tally.seconds.append(reply.seconds)


def _bulk_rate(sound: Sequence[Sent], model: Path | None) -> float:
    """Captions a second of the same pictures in this process, with nobody else to serve."""
    from captioner.inference.captioner import Captioner

    captioner = Captioner.from_pretrained(model, device="cpu")
    pictures = [sent.data for sent in sound]
    captioner.caption(pictures)
    began = time.perf_counter()
    captions = captioner.caption(pictures * 2)
    return len(captions) / (time.perf_counter() - began)


def _time_starts(model: Path | None) -> dict[str, Any]:
    """Seconds from nothing to a page, beside those of importing PyTorch; medians of starts in turn."""
    import httpx

    [picture, *_] = sound_pictures(0)
    seconds: dict[str, list[float]] = {"import torch": [], "page answers": [], "first caption": []}
    for _ in range(_COLD_STARTS):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import torch"], check=True)
        seconds["import torch"].append(time.perf_counter() - began)
        with ServedPage(model) as page:
            httpx.get(page.address, trust_env=False, timeout=60).raise_for_status()
            seconds["page answers"].append(time.perf_counter() - page.began)
            with Visitor(page.address) as visitor:
                visitor.ask(picture.name, picture.data, {})
            seconds["first caption"].append(time.perf_counter() - page.began)
    figures = {f"seconds: {name}": statistics.median(each) for name, each in seconds.items()}
    more = [page - torch for page, torch in zip(seconds["page answers"], seconds["import torch"], strict=True)]
    return figures | {"seconds more than import torch": statistics.median(more)}


if __name__ == "__main__":
    run(load)
