"""All of Pillow's own test pictures, many of them broken on purpose, through guarded decoding.

    python -m pytest -m network tests/test_corpus.py -s

They come with Pillow's source package (47 MB, licence MIT-CMU), fetched once into pytest's cache.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import PIL
import pytest

from captioner.data.decoding import Decoded, Decoders
from captioner.data.preprocessing import Preprocessing
from captioner.errors import ImageError

PREPROCESSING = Preprocessing(224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
SECONDS, MEGABYTES = 2.0, 512


@dataclass(frozen=True)
class Item:
    name: str
    source: Path


@pytest.fixture(scope="module")
def corpus(request: pytest.FixtureRequest) -> list[Path]:
    """The files of Tests/images in the source package of the Pillow that is installed."""
    cache = request.config.cache
    assert cache is not None
    folder = cache.mkdir("pillow")
    archive = folder / f"pillow-{PIL.__version__}.tar.gz"
    if not archive.exists():
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", "pillow", "--dest", str(folder)]
        fetched = subprocess.run([*command, f"pillow=={PIL.__version__}"], capture_output=True, text=True, timeout=280)
        if fetched.returncode != 0:
            pytest.skip(f"Pillow's source package cannot be had: {fetched.stderr.strip().splitlines()[-1]}")
    pictures = folder / archive.name.removesuffix(".tar.gz") / "Tests" / "images"
    if not pictures.exists():
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
    return sorted(path for path in pictures.rglob("*") if path.is_file())


def seconds_and_megabytes(process_id: int) -> tuple[float, float]:
    """The processor time a process has used, and the most memory it has had resident."""
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    status = Path(f"/proc/{process_id}/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), int(peak) / 1000


@pytest.mark.network
@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.platform != "linux", reason="measures processes as only Linux shows them")
def test_every_picture_is_answered_within_its_time_and_memory_and_none_kills(corpus: list[Path]) -> None:
    answers: list[Decoded] = []
    costs: list[float] = []
    processes: set[int] = set()
    spent = peak = 0.0
    with Decoders(PREPROCESSING, workers=1, seconds=SECONDS, megabytes=MEGABYTES, ahead=1) as decoders:
        for _, decoded in decoders.decode(Item(path.name, path) for path in corpus):
            answers.append(decoded)
            [process] = decoders._processes
            total, high = seconds_and_megabytes(process._process.pid)
            costs.append(total - spent)
            spent, peak = total, max(peak, high)
            processes.add(process._process.pid)
    kinds = Counter(answer.pixels.kind if isinstance(answer.pixels, ImageError) else "decoded" for answer in answers)
    slowest = max(range(1, len(costs)), key=costs.__getitem__)  # the first one's include starting
    print(f"\n{len(corpus)} files: {dict(kinds)}; peak {peak:.0f} MB; slowest {costs[slowest]:.2f} s", end=" ")
    print(f"({corpus[slowest].name}); {len(processes)} process, {spent:.1f} s in all")
    assert len(answers) == len(corpus) > 1000
    assert kinds["decoded"] > 600
    assert len(processes) == 1  # so none died, and none was stopped for its time
    assert set(kinds) <= {"decoded", "not a picture", "damaged", "too large"}
    assert max(costs[1:]) < SECONDS
    assert peak < MEGABYTES
    assert all(answer.digest is not None or answer.pixels.kind == "damaged" for answer in answers)
