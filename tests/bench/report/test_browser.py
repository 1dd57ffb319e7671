"""The page in a real Chromium, without a window: what is drawn, what moves, what is asked for, and what a printer gets.

Debian's ``chromium`` is used (``.ci/run`` installs it), driven by playwright, which brings no browser of its own.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench.report.write import write_reports
from tests.support.fleet_measured import write_run
from tests.support.report_folder import write_folder

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

playwright = pytest.importorskip("playwright.sync_api", reason="playwright, which drives the browser, is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: apt-get install chromium")

A4_LANDSCAPE_PX = 1032
"""297 mm less two margins of 12 mm, at 96 px an inch."""

Open = Callable[..., "Page"]
SIX = ["row", "MPJPE (mm)", "p50 (ms)", "p99 (ms)", "speed-up", "memory (MiB)"]
INSIDE = """all => all.map(e => [e, e.closest("svg")].map(e => e.getBoundingClientRect())).map(([text, box]) =>
  text.left >= box.left - 1 && text.right <= box.right + 1 &&
  text.top >= box.top - 1 && text.bottom <= box.bottom + 1)"""
"""Which texts lie within their picture."""


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_folder(tmp_path_factory.mktemp("browser") / "S")
    write_reports([folder])
    return folder / "report/report.html"


LONG = ("orin-nano-8gb-super-developer-kit-on-the-left-bench", "box", "orin-agx-64gb-in-the-climate-chamber", "box-2")


@pytest.fixture(scope="module", params=[2, 4])
def of_devices(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """Two devices, and four of long names: in a run whose last job of the box has failed."""
    folder = tmp_path_factory.mktemp("devices") / "run"
    write_run(folder, ("orin", "box") if request.param == 2 else LONG, ("S", "L") if request.param == 2 else ("S",))
    write_reports([folder])
    return folder / "report/report.html"


@pytest.fixture
def opened(browser: "Browser", report: Path) -> Iterator[Open]:
    """Opens the page from disk; at the end nothing must have been complained of, and nothing asked for."""
    complaints: list[str] = []
    contexts = []

    def open_page(path: Path = report, *, width: int = 1280, **options: Any) -> "Page":
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda asked: complaints.append(asked.url) if not _own(asked.url) else None)
        page.goto(path.as_uri())
        if options.get("java_script_enabled", True):
            page.wait_for_selector("html[data-upgraded=yes]", timeout=30_000)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def _own(url: str) -> bool:
    return url.startswith(("file:", "data:", "blob:"))


def sizes(page: "Page", selector: str) -> list[list[float]]:
    found: list[list[float]] = page.eval_on_selector_all(
        selector, "all => all.map(e => e.getBoundingClientRect()).map(r => [r.width, r.height])"
    )
    return found


def test_every_figure_becomes_interactive_and_has_a_size(opened: Open) -> None:
    page = opened()
    figures = page.locator("[data-figure]").count()
    assert figures == 2
    live = sizes(page, ".live svg")
    assert len(live) == figures
    assert all(width > 200 and height > 60 for width, height in live)
    assert all(of == [0, 0] for of in sizes(page, ".static svg"))


def test_pointing_at_a_mark_tells_what_it_is(opened: Open) -> None:
    page = opened()
    page.locator("#figure-speed-up .live .mark-symbol.role-mark path").last.hover()
    tooltip = page.locator("#vg-tooltip-element.visible")
    tooltip.wait_for(timeout=30_000)
    said = tooltip.inner_text()
    assert "openvino int8" in said
    assert "8.31" in said


def test_the_other_columns_are_behind_a_toggle_that_the_keyboard_and_no_script_works(opened: Open) -> None:
    page = opened(java_script_enabled=False)
    columns = page.locator("#decision thead th")
    assert page.locator("#decision thead th:visible").all_inner_texts() == SIX
    page.locator("#decision .all").focus()
    page.keyboard.press("Space")
    assert columns.count() == page.locator("#decision thead th:visible").count() > len(SIX)


def test_without_scripts_the_static_figures_are_there(opened: Open) -> None:
    page = opened(java_script_enabled=False)
    static = sizes(page, ".static svg")
    assert len(static) == 2
    assert all(width > 200 and height > 60 for width, height in static)
    assert page.locator(".live").count() == 0


@pytest.mark.parametrize("scripts", [True, False])
def test_a_phone_scrolls_down_only(opened: Open, scripts: bool) -> None:
    page = opened(width=400, java_script_enabled=scripts)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert page.eval_on_selector("table.wide tr", "row => getComputedStyle(row).display") == "block"
    if scripts:
        assert all(width <= 400 for width, _ in sizes(page, ".live svg"))
        titles = page.eval_on_selector_all(".live .role-axis-title text", INSIDE)
        assert len(titles) == 3
        assert all(titles)


def test_print_cuts_no_table_and_shows_the_static_figures(opened: Open) -> None:
    page = opened(width=A4_LANDSCAPE_PX)
    page.emulate_media(media="print")
    right = page.eval_on_selector_all("table, .static svg", "all => all.map(e => e.getBoundingClientRect().right)")
    assert len(right) >= 7
    assert max(right) <= A4_LANDSCAPE_PX
    cut = "all => all.filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.textContent)"
    assert page.eval_on_selector_all("td, th, .scroll", cut) == []
    assert all(width > 100 for width, _ in sizes(page, ".static svg"))
    assert all(of == [0, 0] for of in sizes(page, ".live"))
    assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")


def test_the_dark_has_its_own_colours_in_page_and_pictures(opened: Open) -> None:
    light, dark = opened(color_scheme="light"), opened(color_scheme="dark")
    for element, wanted in (("body", "backgroundColor"), ("#figure-speed-up .live text", "fill")):
        colour = f"e => getComputedStyle(e).{wanted}"
        assert light.eval_on_selector(element, colour) != dark.eval_on_selector(element, colour)
    assert dark.eval_on_selector("body", "e => getComputedStyle(e).backgroundColor") == "rgb(20, 24, 29)"


@pytest.mark.parametrize("options", [{}, {"width": 400}, {"width": 400, "java_script_enabled": False}])
def test_devices_fit_every_window_and_scroll_in_their_own_box(
    opened: Open, of_devices: Path, options: dict[str, Any]
) -> None:
    page = opened(of_devices, **options)
    width = options.get("width", 1280)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    boxes = page.eval_on_selector_all(".scroll", "all => all.map(e => e.getBoundingClientRect().right)")
    assert max(boxes) <= width
    if width == 400:
        labels = page.eval_on_selector_all("#decision tbody > tr > *", "all => all.map(e => e.dataset.label)")
        assert {"device", "speed-up"} <= set(labels)
        assert page.eval_on_selector("#decision tbody tr", "row => getComputedStyle(row).display") == "block"


def test_a_script_that_got_into_the_page_would_not_run(opened: Open, report: Path, browser: "Browser") -> None:
    """The second line of defence: a page with markup that was not escaped runs nothing and fetches nothing."""
    planted = report.with_name("planted.html")
    attack = (
        "<script>document.title = 'taken'</script><img src='https://example.invalid/x.png' onerror='document.title=1'>"
    )
    page_text = report.read_text(encoding="utf-8")
    assert "</h1>" in page_text
    planted.write_text(page_text.replace("</h1>", f"{attack}</h1>", 1), encoding="utf-8")
    page = browser.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(planted.as_uri())
    page.wait_for_selector("html[data-upgraded=yes]")
    assert page.title().startswith("S on")
    assert sum("Content Security Policy" in text for text in said) >= 2
    page.close()
