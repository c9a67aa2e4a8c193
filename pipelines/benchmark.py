"""How fast it is: beside what people would use instead, beside what the machine could do, and where the time goes.

captioner benchmark
captioner benchmark --only peers --only search --out out/benchmark
"""

import json
import os
import platform
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from captioner.errors import ConfigError

from . import run, take_folder, write_text
from .benchmarks.figures import Figure, Plan


class Section(StrEnum):
    """What can be measured by itself; each is a module of `benchmarks`."""

    PEERS = "peers"
    SEARCH = "search"
    LIMITS = "limits"
    STAGES = "stages"
    GROWTH = "growth"
    LATENCY = "latency"
    TRAINING = "training"
    OPTIONS = "search_options"


_ON_PYTORCH = (Section.SEARCH, Section.LIMITS, Section.GROWTH, Section.TRAINING)
"""What cannot be measured of an exported model."""
_BESIDE_TEXTBOOK = (Section.SEARCH, Section.TRAINING)
"""What can be measured only of a decoder that has a textbook one."""
FILE, PLOT = "benchmark.json", "benchmark.svg"
_PICTURES = 256
"""Photographs written, as many as the section that wants most of them."""


def benchmark(
    model: Annotated[str | None, typer.Option(help="A folder, or USER/NAME; the shipped model if not given.")] = None,
    only: Annotated[list[Section] | None, typer.Option(help="Only this section; repeatable.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Everything is timed so often, in turn.")] = 3,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Processors each process is held to; 2, or as many as there are.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="A prepared collection, for the lengths of the captions to learn.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help=f"A folder for {FILE} and {PLOT}.")] = None,
) -> None:
    """Time Captioner beside its peers, a textbook decoder and the machine's limits; about ten minutes for everything.

    Each contestant has a fresh process, and all take turns. Figures are medians over the rounds, ratios those of
    one round each, with the least and the greatest: they hold on a busy machine, milliseconds do not.
    """
    from rich.console import Console

    if out is not None:
        take_folder(out, marker=FILE)
    chosen = _chosen(only or list(Section), model)
    sections: dict[str, list[Figure]] = {}
    console = Console()
    if not console.is_terminal:
        console.width = 120
    with tempfile.TemporaryDirectory() as folder:
        plan = _plan(Path(folder), model=model, rounds=rounds, threads=threads, data=data)
        machine = _machine(plan)
        console.print(*(f"{name} {told}" for name, told in machine.items()), sep=", ")
        if machine["load before"] > plan.threads / 2:
            print("This machine is busy with other things: trust ratios a little, milliseconds not at all.")
        for section in chosen:
            sections[section.value] = _measured(section, plan, console)
            if out is not None:  # what is measured is kept, whatever becomes of the rest
                _write(out, machine, sections)
    judged = [each for figures in sections.values() for each in figures if each.met is not None]
    if judged:
        missed = [each.name for each in judged if not each.met]
        print(f"Bars not reached: {'; '.join(missed)}." if missed else "Every bar is reached.")


def _chosen(asked: Sequence[Section], model: str | None) -> Sequence[Section]:
    """The sections asked for, if this model can be measured in them."""
    if model is None:
        return asked
    from captioner.model.checkpoint import load_checkpoint
    from captioner.model.hub import find_model
    from captioner.model.onnx_model import is_exported

    folder = find_model(model).folder
    if is_exported(folder):
        _refuse(asked, _ON_PYTORCH, "Of an exported model only some sections can be measured")
    elif any(section in _BESIDE_TEXTBOOK for section in asked):
        from .benchmarks.textbook import check_kind

        try:
            check_kind(load_checkpoint(folder).config.decoder)
        except ConfigError as error:
            _refuse(asked, _BESIDE_TEXTBOOK, str(error).removesuffix("."))
    return asked


def _refuse(asked: Sequence[Section], impossible: Sequence[Section], why: str) -> None:
    """Raises ConfigError where a section is asked for that cannot be measured."""
    if any(section in impossible for section in asked):
        possible = " ".join(f"--only {section}" for section in Section if section not in impossible)
        raise ConfigError(f"{why}; ask for what can be measured: {possible}.")


def _plan(folder: Path, *, model: str | None, rounds: int, threads: int | None, data: Path | None) -> Plan:
    from .benchmarks.photographs import write_photographs
    from .captioning_run import processors

    if threads is not None and threads > processors():
        raise ConfigError(f"--threads must be at most {processors()}, the processors here, but {threads} came.")
    return Plan(
        model=model,
        rounds=rounds,
        threads=threads or min(2, processors()),
        pictures=write_photographs(folder, _PICTURES),
        data=data,
    )


def _measured(section: Section, plan: Plan, console: Any) -> list[Figure]:
    """The figures of a section, told as soon as they are there."""
    from rich.table import Table

    with console.status(f"{section.value} ..."):
        module = import_module(f".benchmarks.{section.value}", __package__)
        measure: Callable[[Plan], list[Figure]] = module.measure
        figures = measure(plan)
    table = Table(section.value, "median", "least – most", "", "bar", "")
    for each in figures:
        table.add_row(each.name, _number(each.value), _range(each), each.unit, _bar(each), each.note)
    console.print(table)
    return figures


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.4f}" if value < 0.1 else f"{value:.2f}" if value < 100 else f"{value:,.0f}"


def _range(each: Figure) -> str:
    return "" if each.low is None else f"{_number(each.low)} – {_number(each.high)}"


def _bar(each: Figure) -> str:
    """The bar and whether it is reached."""
    if each.at_least is None and each.at_most is None:
        return ""
    limit = f"≥ {each.at_least:g}" if each.at_least is not None else f"≤ {each.at_most:g}"
    return f"{limit} {'yes' if each.met else 'no' if each.met is False else ''}".rstrip()


def _machine(plan: Plan) -> dict[str, Any]:
    """What was measured on, and how busy it was."""
    from importlib.metadata import version

    from captioner.data.samples import sample_pictures

    return {
        "python": platform.python_version(),
        "torch": version("torch"),
        "transformers": version("transformers"),
        "machine": platform.machine(),
        "threads": plan.threads,
        "rounds": plan.rounds,
        "pictures": f"{len(sample_pictures())} photographs cut differently, {len(plan.pictures)} in all",
        "load before": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else 0.0,
    }


def _write(out: Path, machine: Mapping[str, Any], sections: Mapping[str, Sequence[Figure]]) -> None:
    from .benchmarks.plot import draw

    told = {name: [{**asdict(each), "met": each.met} for each in figures] for name, figures in sections.items()}
    write_text(out / FILE, json.dumps({"machine": machine, "sections": told}, indent=2) + "\n")
    write_text(out / PLOT, draw(sections))


if __name__ == "__main__":
    run(benchmark)
