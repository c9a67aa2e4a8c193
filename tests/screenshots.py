"""Draw the README's pictures of the page: `python -m tests.screenshots` (needs the extra `dev` and a Chromium)."""

from __future__ import annotations

import tempfile
from pathlib import Path
from shutil import which

import sklearn
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from captioner.data.samples import sample_pictures

from .served import ROOT, serve

TEMPLE = Path(sklearn.__file__).parent / "datasets" / "images" / "china.jpg"


def draw(browser: Browser, address: str) -> None:
    """page.png: a caption, wide and light; phone.png: the same, narrow and dark; many.png and teach.png: those tabs."""
    page = browser.new_page(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    page.goto(address)
    page.locator("#picture input[type=file]").set_input_files(TEMPLE)
    page.locator("#sentence .word").last.click()
    page.locator("#stage .stage").wait_for()
    page.mouse.move(0, 0)
    page.screenshot(path=ROOT / "app" / "page.png")

    pictures = [*sample_pictures(), TEMPLE]
    page.set_viewport_size({"width": 1280, "height": 960})
    page.get_by_role("tab", name="Many pictures").click()
    page.locator("#many-files input[type=file]").set_input_files(pictures)
    page.locator("#many-gallery li").nth(len(pictures) - 1).wait_for()
    page.get_by_role("status").filter(has_text="done").first.wait_for(state="attached")
    page.screenshot(path=ROOT / "app" / "many.png")

    dark = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme="dark", reduced_motion="reduce")
    dark.goto(address)
    dark.get_by_role("tab", name="Teach").click()
    dark.locator("#teach-upload input[type=file]").set_input_files([TEMPLE])
    dark.locator("#teach-picture img").wait_for()
    dark.screenshot(path=ROOT / "app" / "teach.png")

    phone = browser.new_page(viewport={"width": 375, "height": 812}, color_scheme="dark", reduced_motion="reduce")
    phone.goto(address)
    phone.locator("#picture input[type=file]").set_input_files(TEMPLE)
    phone.locator("#sentence .word").last.click()
    phone.locator("#stage .stage").wait_for()
    phone.screenshot(path=ROOT / "app" / "phone.png")


def main() -> None:
    """Serve the shipped model and draw."""
    chromium = which("chromium")
    with (
        tempfile.TemporaryDirectory() as folder,
        sync_playwright() as playwright,
        serve("--home", Path(folder) / "home", temporary=Path(folder)) as served,
    ):
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        draw(browser, served.address)
        browser.close()
    for name in ("page", "many", "phone", "teach"):
        path = ROOT / "app" / f"{name}.png"
        with Image.open(path) as drawn:
            drawn.convert("RGB").quantize(256).save(path, optimize=True)  # a third of the size


if __name__ == "__main__":
    main()
