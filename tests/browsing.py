"""What the tests share that open the page in a browser."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from shutil import which
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = which("chromium")

IN_BROWSER = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
    pytest.mark.skipif(find_spec("playwright") is None, reason="Playwright is not installed"),
]


def in_browser(test: Callable[..., None]) -> Callable[..., None]:
    """A test in a browser, in a file of others."""
    for mark in IN_BROWSER:
        test = mark(test)
    return test


def unfold(page: Page, name: str = "") -> None:
    """Open the folds that can be seen, or those whose heading holds this, until one can write in them."""
    folds = page.locator("button.label-wrap:not(.open):visible").filter(has_text=name)
    if name:
        folds.wait_for()
    folds.evaluate_all("folds => folds.forEach(fold => fold.click())")
    await_unfolded(page)


def await_unfolded(page: Page) -> None:
    """Until what a fold holds stays as it is: Gradio sets its fields anew in the frame after they have come."""
    page.evaluate("async () => { for (let frame = 0; frame < 3; frame++) await new Promise(requestAnimationFrame); }")
