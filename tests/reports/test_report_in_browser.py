"""The report in a real browser, without a network: no errors, the viewer draws, the keyboard reaches every control."""

import shutil
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from playwright.sync_api import Page, sync_playwright

from medlangevin.reports.report import write_report

pytestmark = pytest.mark.slow(seconds=5)

ARGUMENTS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
]


@pytest.fixture(scope="module")
def report(small: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(small.run, tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture
def page(report: Path) -> Iterator[Page]:
    """The report, opened from its file; at the end nothing may have been asked for and nothing gone wrong."""
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    if browser_path is None:
        pytest.skip("no browser: install chromium")
    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=ARGUMENTS)
        context = browser.new_context(offline=True, viewport={"width": 1200, "height": 900})
        opened = context.new_page()
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        opened.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        opened.on("request", lambda asked: complaints.append(asked.url) if asked.url.startswith("http") else None)
        opened.goto(report.resolve().as_uri())
        opened.wait_for_function("document.getElementById('canvas').dataset.shown", timeout=60_000)
        yield opened
        browser.close()
    assert complaints == []


def greys(page: Page) -> np.ndarray:
    """What the viewer shows, in [0, 1], (height, width)."""
    page.wait_for_timeout(500)
    shot = page.locator("#canvas").screenshot()
    return np.asarray(matplotlib.image.imread(BytesIO(shot), format="png"))[..., :3].mean(-1)


def test_the_viewer_draws_and_each_control_changes_what_it_shows(page: Page) -> None:
    first = greys(page)
    assert (first > 0.1).mean() > 0.05
    assert len(np.unique(first.round(2))) > 10
    page.get_by_role("button", name="Next").click()
    page.wait_for_function("document.getElementById('canvas').dataset.shown === 'real-2'")
    assert np.abs(greys(page) - first).max() > 0.05
    page.get_by_label("View", exact=True).select_option("axial")
    page.wait_for_timeout(500)
    page.get_by_label("Volume", exact=True).select_option(label="SYNTHETIC 3, seed 0")
    page.wait_for_function("document.getElementById('canvas').dataset.shown === 'synthetic-3'")
    assert page.locator("#shown").inner_text() == "SYNTHETIC 3, seed 0"


def test_the_keyboard_alone_pages_and_moves_along_a_direction(page: Page) -> None:
    page.get_by_role("button", name="Previous").focus()
    page.keyboard.press("Enter")
    page.wait_for_function("document.getElementById('canvas').dataset.shown === 'synthetic-8'")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.wait_for_function("document.getElementById('canvas').dataset.shown === 'real-1'")
    page.keyboard.press("Tab")  # the view
    page.keyboard.press("Tab")  # the first direction
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.getElementById('canvas').dataset.shown === 'direction-1-+0.5'")
    assert "+0.5 standard deviations" in page.locator("#shown").inner_text()


def test_text_stands_out_from_its_background(page: Page) -> None:
    # Contrast by WCAG 2 (relative luminance), 4.5 for text of this size.
    worst = page.evaluate(
        """() => {
        const numbers = text => text.match(/[\\d.]+/g).map(Number);
        const linear = v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
        const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
        const ground = node => {
            for (; node; node = node.parentElement) {
                const rgb = numbers(getComputedStyle(node).backgroundColor);
                if (rgb.length < 4 || rgb[3] > 0) return rgb;
            }
            return [255, 255, 255];
        };
        const ratio = node => {
            const [text, behind] = [numbers(getComputedStyle(node).color), ground(node)].map(light);
            return (Math.max(text, behind) + 0.05) / (Math.min(text, behind) + 0.05);
        };
        const texts = document.querySelectorAll("p, td, th, a, h1, h2, figcaption, label, pre, button, select");
        return Math.min(...[...texts].map(ratio));
    }"""
    )
    assert worst > 4.5
