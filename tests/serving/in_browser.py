"""A real browser without a window."""

import shutil
from contextlib import contextmanager

import pytest
from waiting import HANG_S

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")


@contextmanager
def browsing():
    """Chromium as it is installed here; tests are skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api")
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("needs Chromium on the PATH")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=found, timeout=HANG_S * 1000)
        yield browser
        browser.close()


@contextmanager
def opened(browser, url, width=1280, dark=False):
    """A page in a profile of its own, of which `problems` collects what the browser complains of."""
    scheme = "dark" if dark else "light"
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, locale="en")
    context.set_default_timeout(HANG_S * 1000)
    page = context.new_page()
    page.problems, page.asked = [], []
    page.on("console", lambda message: page.problems.append(message.text))
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(url)
    yield page
    context.close()


def search(page, query, ended=True):
    """Type it and press Enter; with `ended` wait for the answers."""
    page.fill("#query", query)
    page.press("#query", "Enter")
    if ended:
        page.wait_for_selector("#status:not(:text('Searching'))")


def keys_of(page, route):
    """The ids of its hits, as texts."""
    keys = page.locator(f"#{route} li").evaluate_all("items => items.map(item => item.dataset.key)")
    return [key.strip('"') for key in keys]


def focused(page):
    """The column, and which hit of it."""
    return page.evaluate(
        "[document.activeElement.closest('.column')?.id,"
        " [...document.activeElement.closest('ol')?.children ?? []].indexOf(document.activeElement.parentElement)]"
    )
