"""The page in a browser, as visitors meet it: every tab sound for everyone, and the whole way through the first one."""

from __future__ import annotations

import re
import shlex
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from captioner.data.samples import sample_pictures
from captioner.inference.captioner import Captioner
from tests.browsing import CHROMIUM, IN_BROWSER, await_unfolded, unfold
from tests.served import Served, serve

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

pytestmark = IN_BROWSER

DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 375, "height": 812}


@pytest.fixture(scope="module")
def captioner(model_folder: Path) -> Captioner:
    return Captioner.from_pretrained(model_folder)


@pytest.fixture(scope="module")
def served(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("home")
    with serve("--model", model_folder, "--home", home, temporary=tmp_path_factory.mktemp("temporary")) as served:
        yield served


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=30_000)  # milliseconds; the machine may be busy
    with sync_playwright() as playwright:
        camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *camera])
        yield browser
        browser.close()


class Visit:
    """Visitors' windows on the page; when the visit ends, nothing may have been asked of others nor complained of."""

    def __init__(self, browser: Browser, served: Served) -> None:
        self._browser = browser
        self._address = served.address
        self._contexts: list[BrowserContext] = []
        self.foreign: list[str] = []
        self.complaints: list[str] = []

    def open(self, **window: Any) -> Page:
        context = self._browser.new_context(reduced_motion="reduce", **window)
        self._contexts.append(context)
        context.grant_permissions(["clipboard-read", "clipboard-write", "camera"])
        page = context.new_page()
        page.on("request", lambda request: self._note(request.url))
        page.on("console", lambda told: self.complaints.append(told.text) if told.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(self._address)
        page.locator("#samples button").first.wait_for()
        return page

    def _note(self, url: str) -> None:
        if not url.startswith((self._address, "data:", "blob:")):
            self.foreign.append(url)

    def end(self) -> None:
        for context in self._contexts:
            context.close()


@pytest.fixture
def visit(browser: Browser, served: Served) -> Iterator[Visit]:
    visit = Visit(browser, served)
    yield visit
    visit.end()
    assert visit.foreign == []
    assert visit.complaints == []


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "meadow.png"
    Image.new("RGB", (120, 80), (30, 160, 40)).save(path)
    return path


def try_sample(page: Page) -> None:
    page.locator("#samples button").first.click()
    page.locator("#sentence .word").first.wait_for()


def fill(page: Page, folder: Path) -> None:
    """Something of every kind in the tabs for many pictures and for teaching."""
    from playwright.sync_api import expect

    files = [folder / "meadow.png", folder / "sea.png", folder / "letter.jpg"]
    Image.new("RGB", (120, 80), (30, 160, 40)).save(files[0])
    Image.new("RGB", (80, 120), (20, 60, 160)).save(files[1])
    files[2].write_text("Dear reader")
    page.get_by_role("tab", name="Many pictures").click()
    page.locator("#many-files input[type=file]").set_input_files(files)
    expect(page.locator("#many-progress")).to_have_text("3 pictures, done, 1 could not be captioned")
    page.get_by_label("Caption of meadow.png").fill("A green meadow.")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Keep these to teach").click()
    expect(page.locator("#many-sentences [role=status]")).to_be_visible()
    page.get_by_role("tab", name="Teach").click()
    expect(page.locator("#teach-kept h2")).to_have_text("1 picture, 1 caption")
    expect(page.locator("#teach-picture")).to_contain_text("1 picture to correct")


@pytest.mark.skipif(find_spec("axe_playwright_python") is None, reason="axe-playwright-python is not installed")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("window", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_no_tab_has_an_accessibility_finding(visit: Visit, window: dict[str, int], scheme: str, tmp_path: Path) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = visit.open(viewport=window, color_scheme=scheme)
    try_sample(page)
    fill(page, tmp_path)
    findings = {}
    for tab in page.get_by_role("tab").all():
        tab.click()
        unfold(page)
        page.wait_for_timeout(300)  # until nothing of it moves
        for finding in Axe().run(page).response["violations"]:
            findings[tab.inner_text(), finding["id"]] = [node["html"] for node in finding["nodes"]]
        assert page.evaluate("document.documentElement.scrollWidth") <= window["width"]
    assert findings == {}


def test_a_first_visitor_is_told_what_to_do_and_by_whom(visit: Visit) -> None:
    from playwright.sync_api import expect

    page = visit.open(viewport=DESKTOP)
    assert page.title() == "Captioner"
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.request.get(f"{page.url}favicon.ico").headers["content-type"] == "image/svg+xml"
    expect(page.get_by_role("heading", level=1)).to_have_text("Captioner")
    expect(page.get_by_text("Choose a picture, and its sentence appears here.")).to_be_in_viewport()
    expect(page.locator("#samples button").last).to_be_in_viewport(ratio=1)


def test_sentence_picture_light_and_word_are_seen_together(visit: Visit) -> None:
    from playwright.sync_api import expect

    page = visit.open(viewport=DESKTOP)
    try_sample(page)
    word = page.locator("#sentence .word").last
    place = word.locator("input").get_attribute("value")
    light, about = page.locator(f"#stage .heat[data-of='{place}']"), page.locator(f"#about-{place}")
    word.hover()
    expect(light).to_have_css("opacity", "1")
    for seen in (word, page.locator("#stage .stage"), about, page.locator("#alternatives h2")):
        expect(seen).to_be_in_viewport(ratio=1)
    under = page.locator("#stage .stage").bounding_box()
    assert under == light.bounding_box()

    page.mouse.move(0, 0)
    expect(about).to_be_visible()  # so that its alternatives can be reached

    page.locator("#sentence .word").first.click()
    expect(page.locator("#about-0")).to_be_visible()
    expect(about).to_be_hidden()
    expect(light).to_have_css("opacity", "0")


def test_the_word_that_is_marked_is_the_word_that_is_explained_after_going_on_from_another(visit: Visit) -> None:
    from playwright.sync_api import expect

    page = visit.open(viewport=DESKTOP)
    try_sample(page)
    before = page.locator("#sentence .sentence").inner_text()
    page.locator("#sentence .word").nth(1).click()
    place = page.locator("#sentence input:checked").get_attribute("value")
    page.locator(f"#about-{place} [data-beginning]").first.click()
    expect(page.locator("#sentence .sentence")).not_to_have_text(before)
    marked = page.locator("#sentence input:checked")
    expect(marked).to_have_count(1)
    expect(page.locator(f"#about-{marked.get_attribute('value')}")).to_be_visible()


def test_a_wish_that_cannot_be_granted_leaves_the_picture_to_be_seen(visit: Visit) -> None:
    from playwright.sync_api import expect

    page = visit.open(viewport=DESKTOP)
    try_sample(page)
    unfold(page, "Steer the sentence")
    page.get_by_label("Must say").first.fill("gryphon")
    page.keyboard.press("Enter")
    expect(page.locator("#sentence")).to_contain_text("gryphon")
    expect(page.locator("#stage .stage img").first).to_be_visible()


def test_the_sentence_is_selected_as_one_line_of_text(visit: Visit, captioner: Captioner) -> None:
    page = visit.open(viewport=DESKTOP)
    try_sample(page)
    page.locator("#sentence .sentence").evaluate("sentence => getSelection().selectAllChildren(sentence)")
    assert page.evaluate("getSelection().toString()") == captioner.caption(sample_pictures()[0]).text


def test_everything_is_reached_and_used_by_keyboard(visit: Visit, captioner: Captioner) -> None:
    from playwright.sync_api import expect

    page = visit.open(viewport=DESKTOP)
    keyboard = page.keyboard

    def tab_to(name: str) -> None:
        for _ in range(60):
            keyboard.press("Tab")
            focused = page.locator("body:focus-within :focus")
            if focused.count() == 0:  # past the end of the page
                continue
            told = focused.evaluate("here => here.ariaLabel || here.title || here.innerText || here.value")
            drawn = focused.evaluate("here => getComputedStyle(here.closest('.word') ?? here).outlineStyle")
            assert drawn not in ("none", ""), f"no outline shows that {told} has the focus"
            if told.splitlines()[:1] == [name]:  # the next line may be a sign
                return
        raise AssertionError(f"{name} was never reached")

    tab_to("Caption")
    tab_to("lion")
    keyboard.press("Enter")
    page.locator("#sentence .word").first.wait_for()
    page.locator("#sentence .word input:checked").focus()
    keyboard.press("Home")
    places = [page.locator("#sentence input:checked").get_attribute("value")]
    keyboard.press("ArrowRight")
    places.append(page.locator("#sentence input:checked").get_attribute("value"))
    assert places[0] != places[1]
    expect(page.locator(f"#about-{places[1]}")).to_be_visible()
    tab_to("Copy")
    keyboard.press("Enter")
    expect(page.locator("#sentence [role=status]")).to_have_text("Copied.")
    assert page.evaluate("navigator.clipboard.readText()") == captioner.caption(sample_pictures()[0]).text
    tab_to("Copy as alt text")
    keyboard.press("Space")
    expect(page.locator("#sentence [role=status]")).to_contain_text("Copied: “")
    tab_to("Download explanation")
    with page.expect_download() as download:
        keyboard.press("Enter")
    with zipfile.ZipFile(download.value.path()) as archive:
        assert archive.namelist() == ["explanation.html", "explanation.json"]
    tab_to("Steer the sentence")
    keyboard.press("Enter")
    page.get_by_label("Begins with").focus()
    await_unfolded(page)
    keyboard.type("grass")
    keyboard.press("Enter")
    expect(page.locator("#sentence .sentence")).to_contain_text("Grass")
    page.locator("#heading").click()
    tab_to("Let it speak freely")
    keyboard.press("Enter")
    expect(page.locator("#sentence .sentence")).to_have_text(captioner.caption(sample_pictures()[0]).text or "")
    expect(page.get_by_label("Begins with")).to_have_value("")


_COPY_MEADOW = """async () => {
  const canvas = Object.assign(document.createElement("canvas"), {width: 120, height: 80});
  const pen = canvas.getContext("2d");
  pen.fillStyle = "rgb(30, 160, 40)";
  pen.fillRect(0, 0, 120, 80);
  const picture = await new Promise(done => canvas.toBlob(done, "image/png"));
  await navigator.clipboard.write([new ClipboardItem({"image/png": picture})]);
}"""
_COPY_AS_A_SPREADSHEET_DOES = _COPY_MEADOW.replace(
    '{"image/png": picture}', '{"image/png": picture, "text/plain": "zebra"}'
)


def test_a_picture_is_pasted_by_keys_in_place_of_another_and_by_the_button(
    visit: Visit, captioner: Captioner, picture: Path
) -> None:
    from playwright.sync_api import expect

    page = visit.open(viewport=DESKTOP)
    shown = page.locator("#picture img")
    try_sample(page)
    expect(shown).to_have_attribute("src", re.compile(r"/lion\.jpg$"))
    unfold(page, "Steer the sentence")
    forbidden = page.get_by_label("Must not say")
    forbidden.focus()
    page.evaluate(_COPY_AS_A_SPREADSHEET_DOES)
    page.keyboard.press("Control+v")
    expect(forbidden).to_have_value("zebra")
    expect(shown).to_have_attribute("src", re.compile(r"/lion\.jpg$"))
    forbidden.fill("")
    page.evaluate(_COPY_MEADOW)
    page.keyboard.press("Control+v")
    expect(shown).to_have_attribute("src", re.compile(r"/image\.png$"))
    expect(page.locator("#sentence .sentence")).to_have_text(captioner.caption(picture).text or "")
    page.locator("#picture button[aria-label='Remove Image']").click()
    expect(page.locator("#sentence .sentence")).to_have_count(0)
    page.get_by_label("Paste from clipboard").click()
    expect(page.locator("#sentence .sentence")).to_have_text(captioner.caption(picture).text or "")


def test_a_picture_is_taken_with_the_camera(visit: Visit) -> None:
    from playwright.sync_api import expect

    page = visit.open(viewport=PHONE)
    page.get_by_label("Capture from camera").click()
    page.get_by_role("button", name="Click to Access Webcam").click()
    page.wait_for_function("document.querySelector('#picture video')?.videoWidth > 0")
    page.locator("#picture button[aria-label='capture photo']").click()
    expect(page.locator("#sentence .word").first).to_be_visible()
    expect(page.locator("#stage .stage")).to_be_visible()


def test_a_visitor_uploads_a_picture_reads_the_sentence_and_walks_through_its_words(
    visit: Visit, captioner: Captioner, picture: Path, tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    page = visit.open(viewport=PHONE, has_touch=True)
    sentence = page.locator("#sentence .sentence")
    page.locator("#picture input[type=file]").set_input_files(picture)
    caption = captioner.caption(picture)
    expect(sentence).to_have_text(caption.text or "")

    words = page.locator("#sentence .word")
    expect(words).to_have_count(len(caption.candidates[0].words))
    words.first.tap()
    expect(page.locator("#about-0")).to_be_visible()
    expect(page.locator("#stage .heat[data-of='0']")).to_have_css("opacity", "1")
    expect(page.locator("#stage .stage")).to_be_in_viewport(ratio=1)
    unfold(page, "Steer the sentence")
    other = page.locator("#about-0 button.other").first
    other.click()
    expect(page.get_by_label("Begins with")).to_have_value(other.get_attribute("data-beginning") or "")
    page.get_by_role("button", name="Let it speak freely").click()
    expect(sentence).to_have_text(caption.text or "")

    page.get_by_label("Begins with").fill("grass")
    page.keyboard.press("Enter")
    page.get_by_label("Begins with").blur()
    expect(sentence).to_contain_text("Grass")
    unfold(page, "The same from the command line")
    line = page.locator("#commands code").first.inner_text()
    assert shlex.split(line)[2:] == ["meadow.png", f"--model={captioner.folder}", "--beginning=grass"]
    page.get_by_label("Must say").fill("gryphon")
    page.get_by_label("Must say").blur()
    expect(page.get_by_role("alert")).to_contain_text("must say 'gryphon'")
    expect(page.get_by_role("alert")).to_be_in_viewport()
    page.get_by_label("Must say").fill("")
    page.get_by_label("Begins with").fill("")
    page.keyboard.press("Enter")
    expect(sentence).to_have_text(caption.text or "")
    page.get_by_label("Draw at random").check()
    expect(page.get_by_label("Seed")).to_be_visible()
    drawn = captioner.caption(picture, search=replace(captioner.search, method="sample"))
    expect(sentence).to_have_text(drawn.text or "")
    page.get_by_label("Search for the likeliest").check()
    expect(sentence).to_have_text(caption.text or "")

    unfold(page, "Look inside")
    expect(page.locator("#inside .lattice")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    branch = page.locator("#inside .lattice [data-beginning]").last
    beginning = branch.get_attribute("data-beginning") or ""
    branch.click()
    expect(page.get_by_label("Begins with")).to_have_value(beginning)
    expect(page.get_by_text("Steered by your wishes.")).to_be_visible()

    page.get_by_role("button", name="Let it speak freely").click()
    page.locator("#samples button").first.click()
    expect(sentence).to_have_text(captioner.caption(sample_pictures()[0]).text or "")

    page.locator("#picture button[aria-label='Remove Image']").click()
    expect(page.locator("#stage .stage")).to_have_count(0)
    text_file = tmp_path / "letter.jpg"
    text_file.write_text("Dear reader, this is no picture.")
    page.locator("#picture input[type=file]").set_input_files(text_file)
    expect(page.get_by_role("alert")).to_contain_text("letter.jpg must be")
