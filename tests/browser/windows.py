"""A window of the browser, what goes wrong in it, and what is measured of a page."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Page, Request

DESKTOP, PHONE = (1280, 900), (390, 844)
READABLE = 4.5
"""The contrast of text that WCAG 2 asks for at level AA."""

_CONTRASTS = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (css) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = css;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat([1]);
  const light = (c) => {
    const [r, g, b] = c.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const paper = (element) => {
    const layers = [];
    for (let one = element; one; one = one.parentElement) layers.push(rgba(getComputedStyle(one).backgroundColor));
    return layers.reverse().reduce((below, top) => over(top, below), rgba("Canvas"));
  };
  const behind = (text) => {
    // Text of a chart lies over the last shape before it that it is in.
    const at = text.getBoundingClientRect(), y = at.top + at.height / 2;
    let found = paper(text.closest("svg"));
    for (const shape of text.closest("svg").querySelectorAll("rect")) {
      const box = shape.getBoundingClientRect();
      const follows = shape.compareDocumentPosition(text) & Node.DOCUMENT_POSITION_FOLLOWING;
      if (follows && box.left <= at.left && box.right >= at.right && box.top <= y && box.bottom >= y)
        found = over(rgba(getComputedStyle(shape).fill), found);
    }
    return found;
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement, text = node.textContent.trim();
    if (!text || !element.checkVisibility({ visibilityProperty: true })) continue;
    if (["SCRIPT", "STYLE", "TITLE", "title", "NOSCRIPT"].includes(element.tagName)) continue;
    const style = getComputedStyle(element), drawn = element instanceof SVGElement;
    const ground = drawn ? behind(element) : paper(element);
    const ink = over(rgba(drawn ? style.fill : style.color), ground);
    const [a, b] = [light(ink), light(ground)].sort((x, y) => y - x);
    found.push([text.slice(0, 40), (a + 0.05) / (b + 0.05)]);
  }
  return found;
}"""


class Window:
    """A page in a browser context of its own. `errors`: what the console told, exceptions, and requests that failed;
    `requests`: the addresses that were asked for."""

    def __init__(self, browser: Browser, *, dark: bool, phone: bool, scripts: bool = True) -> None:
        width, height = PHONE if phone else DESKTOP
        self._context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light",
            is_mobile=phone, has_touch=phone, device_scale_factor=2 if phone else 1,
            java_script_enabled=scripts,
        )  # fmt: skip
        self.page: Page = self._context.new_page()
        self.page.set_default_timeout(10_000)
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", self._told)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self._asked)

    def _told(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.errors.append(message.text)

    def _asked(self, request: Request) -> None:
        self.requests.append(request.url)

    def cut_off(self) -> None:
        """Refuse every request to a network."""
        self._context.set_offline(True)

    def close(self) -> None:
        """Close it."""
        self._context.close()

    def unreadable(self) -> list[tuple[str, float]]:
        """Texts with too little contrast. There have to be texts."""
        found: list[list[Any]] = self.page.evaluate(_CONTRASTS)
        assert len(found) > 10
        return [(text, round(contrast, 2)) for text, contrast in found if contrast < READABLE]

    def overflow(self) -> int:
        """By how many pixels the page is wider than its window."""
        width: int = self.page.evaluate(
            "Math.max(document.documentElement.scrollWidth, document.body.scrollWidth) - window.innerWidth"
        )
        return width


def let_in(page: Page, token: str) -> None:
    """Give the token that is asked for."""
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="go on").click()
