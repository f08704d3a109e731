"""A real browser for tests of pages: headless Chromium, where the machine has one."""

import contextlib
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()  # nothing but the page that is asked for is loaded
PATIENCE = 120.0  # seconds; a browser on a busy core is slow


@contextlib.contextmanager
def started() -> Iterator[Any]:
    """Give Playwright's browser; the test is skipped where there is none."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium); the pages are not looked at")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET, timeout=1000 * PATIENCE)
        yield browser
        browser.close()


@contextlib.contextmanager
def opened(browser: Any) -> Iterator[Any]:
    """Give an empty page of the size of a laptop's screen."""
    page = browser.new_page(viewport={"width": 1500, "height": 1100})
    page.set_default_timeout(1000 * PATIENCE)
    yield page
    page.close()
