"""What a component hands to Python is decided here, and not by Gradio."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from gradio.components import Component

_Component = TypeVar("_Component", bound=Component)


def preprocessed(component: _Component, by: Callable[[Any], Any]) -> _Component:
    """The component, whose events are given what `by` makes of what came from the browser.

    A subclass would say it more plainly, but wherever one is defined Gradio writes a .pyi file beside it.
    """
    component.preprocess = by  # type: ignore[method-assign]
    return component
