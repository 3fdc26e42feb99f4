"""A real browser, once a module, and pages in it that may reach nothing but what they are to reach."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from local.setup import browser as programs
from tests.browser.windows import Window

expect.set_options(timeout=20_000)  # a full machine is no fault of what is tested


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, without a screen. Its driver has an event loop in this thread while it is there: tests of other modules
    that run one of their own must not find it."""
    with sync_playwright() as drivers:
        found = drivers.chromium.launch(executable_path=programs.find())
        yield found
        found.close()


@pytest.fixture
def window(browser: Browser) -> Iterator[Callable[..., Window]]:
    """Opens windows; at the end none may have had an error that was not expected."""
    opened: list[Window] = []

    def open_one(*, dark: bool = False, phone: bool = False, scripts: bool = True) -> Window:
        opened.append(Window(browser, dark=dark, phone=phone, scripts=scripts))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()
    assert [error for one in opened for error in one.errors] == []
