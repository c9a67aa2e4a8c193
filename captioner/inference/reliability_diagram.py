"""A reliability diagram as inline SVG: what was said across, what came upwards, a dot for each bin.

It is drawn on the page of a calibration and on the page that people open; each brings its own colours, for the classes
`frame`, `even` and `dot`.
"""

from __future__ import annotations

from collections.abc import Sequence

from captioner.inference.reliability import Bin

SIDE = 300
"""Of a square diagram, in units of its viewBox."""

TICKS = (0, 0.25, 0.5, 0.75, 1)


def draw_reliability_diagram(bins: Sequence[Bin], *, of: str, error: float) -> str:
    """The diagram of the bins of `of`, "Words" or "Captions", whose calibration error is `error`."""
    dots = "".join(
        f'<circle class="dot" cx="{SIDE * each.said:.1f}" cy="{SIDE * (1 - each.came):.1f}" r="6">'
        f"<title>{each.said:.2f} said, {each.came:.2f} right, {each.cases:,} cases</title></circle>"
        for each in bins
    )
    ticks = "".join(
        f'<text x="{SIDE * tick:g}" y="{SIDE + 18}" text-anchor="middle">{tick:g}</text>'
        f'<text x="-8" y="{SIDE * (1 - tick) + 4:g}" text-anchor="end">{tick:g}</text>'
        for tick in TICKS
    )
    return (
        f'<svg viewBox="-45 -10 {SIDE + 65} {SIDE + 55}" role="img" '
        f'aria-label="Reliability diagram. {of}: calibration error {error:.3f}">'
        f'<rect class="frame" width="{SIDE}" height="{SIDE}"/>'
        f'<line class="even" x1="0" y1="{SIDE}" x2="{SIDE}" y2="0"/>'
        f"{dots}{ticks}"
        f'<text x="{SIDE / 2:g}" y="{SIDE + 40}" text-anchor="middle">confidence</text>'
        '<text x="8" y="16">share that was right</text></svg>'
    )
