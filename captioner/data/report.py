"""The account of how a collection came about: what was kept, mended and left out, and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from captioner.data.rows import Dropped


@dataclass(frozen=True)
class Report:
    """What `build` kept, in pictures and captions per split, and everything it left out.

    `fingerprint` (64 hex digits) is equal for two collections exactly when all their rows are equal; `splits` has 16
    digits of each split's. `mended` counts captions by what was taken out of them. `remarks` are sentences about what
    is no fault but worth knowing.
    """

    pictures: dict[str, int]
    captions: dict[str, int]
    dropped: tuple[Dropped, ...]
    fingerprint: str
    splits: dict[str, str] = field(default_factory=dict)
    mended: dict[str, int] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def bad_share(self) -> float:
        """Share of pictures, 0 to 1, that should have been usable and were not."""
        bad = sum(loss.unit == "picture" and loss.fault for loss in self.dropped)
        return bad / max(1, bad + sum(self.pictures.values()))

    def reasons(self) -> dict[tuple[str, str], list[Dropped]]:
        """What was left out, grouped by (unit, reason), the most frequent first."""
        groups: dict[tuple[str, str], list[Dropped]] = {}
        for loss in self.dropped:
            groups.setdefault((loss.unit, loss.reason), []).append(loss)
        return dict(sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])))

    def as_json(self) -> dict[str, Any]:
        """The report as plain lists and dicts, every dropped thing named."""
        return {
            "fingerprint": self.fingerprint,
            "splits": self.splits,
            "kept": {
                split: {"pictures": self.pictures[split], "captions": self.captions[split]} for split in self.pictures
            },
            "mended": self.mended,
            "remarks": list(self.remarks),
            "bad_share": round(self.bad_share, 6),
            "dropped": [
                {
                    "unit": unit,
                    "reason": reason,
                    "count": len(losses),
                    "names": [f"{loss.name}: {loss.detail}" if loss.detail else loss.name for loss in losses],
                }
                for (unit, reason), losses in self.reasons().items()
            ],
        }
