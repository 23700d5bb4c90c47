"""The system's Chromium, driven from a thread of its own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import pytest

Answer = TypeVar("Answer")
_PATIENCE_SECONDS = 60
PHONE, DESK = 360, 1280

# Rules of WCAG 2.2 A and AA, and what axe-core calls good practice (landmarks, the order of headings).
_AXE = """async () => {
  const found = await axe.run(document, {preload: false, resultTypes: ["violations"]});
  const shown = violation => violation.nodes.slice(0, 3).map(node => node.html.slice(0, 160));
  return found.violations.map(each => each.id + ": " + each.help + " " + shown(each));
}"""


@dataclass(frozen=True)
class Sight:
    """What one look showed.

    Attributes:
        violations: of axe-core's rules.
        requests: everything that was asked for besides the page.
        messages: what stands in the console.
        content_width: how wide the page is; wider than the window, and it scrolls sideways.
        answer: of the question that was asked.
    """

    violations: list[str]
    requests: list[str]
    messages: list[str]
    content_width: int
    answer: Any


class Browser:
    """One Chromium for all looks. Playwright keeps an event loop running in its thread, so it gets its own: tests
    that run a loop themselves go on undisturbed."""

    def __init__(self, program: str) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="browser")
        self._folder = Path(tempfile.mkdtemp(prefix="vmkit-browser-"))
        self._playwright, self._chromium = self._do(lambda: _launch(program))
        self._axe = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")

    def close(self) -> None:
        """Ends the Chromium."""
        self._do(self._chromium.close)
        self._do(self._playwright.stop)
        self._thread.shutdown()
        shutil.rmtree(self._folder, ignore_errors=True)

    def look(
        self,
        html: str,
        *,
        name: str,
        width: int = DESK,
        scheme: str = "light",
        question: str = "null",
        audit: bool = True,
    ) -> Sight:
        """Opens the page once.

        Args:
            html: the page.
            name: what its picture is called.
            width: of the window, in pixels.
            scheme: "light" or "dark".
            question: an expression in JavaScript, answered on the page.
            audit: look for violations; it takes its time on very large pages.
        """
        return self._do(lambda: self._look(html, name, width, scheme, question, audit))

    def inspect(self, html: str, *, name: str) -> None:
        """Fails on whatever is wrong with the page in any scheme, on a phone or on a desk."""
        for scheme in ("light", "dark"):
            for width in (PHONE, DESK):
                sight = self.look(html, name=name, width=width, scheme=scheme)
                where = f"{name}, {scheme}, {width} px"
                assert not sight.violations, (where, sight.violations)
                assert not sight.requests, (where, sight.requests)
                assert not sight.messages, (where, sight.messages)
                assert sight.content_width <= width, (where, "scrolls sideways", sight.content_width)

    def print_pdf(self, html: str, *, name: str) -> bytes:
        """The page as it is printed."""
        return self._do(lambda: self._print(html, name))

    def _do(self, what: Callable[[], Answer]) -> Answer:
        return self._thread.submit(what).result(timeout=4 * _PATIENCE_SECONDS)

    def _file(self, html: str, name: str) -> str:
        file = self._folder / f"{name}.html"
        file.write_text(html, encoding="utf-8")
        return file.as_uri()

    def _look(self, html: str, name: str, width: int, scheme: str, question: str, audit: bool) -> Sight:
        address = self._file(html, name)
        context = self._chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        try:
            page = context.new_page()
            page.set_default_timeout(_PATIENCE_SECONDS * 1000)
            requests: list[str] = []
            messages: list[str] = []
            page.on("request", lambda request: requests.append(request.url) if request.url != address else None)
            page.on("console", lambda message: messages.append(message.text))
            page.on("pageerror", lambda error: messages.append(str(error)))
            page.goto(address)
            content_width = page.evaluate("document.documentElement.scrollWidth")
            answer = page.evaluate(question)
            folder = os.environ.get("VMKIT_SCREENSHOTS")
            if folder:
                Path(folder).mkdir(parents=True, exist_ok=True)
                page.screenshot(path=Path(folder) / f"{name}-{scheme}-{width}.png", full_page=True)
            violations = []
            if audit:
                page.evaluate(f"() => {{ {self._axe} }}")
                violations = page.evaluate(_AXE)
        finally:
            context.close()
        return Sight(violations, requests, messages, content_width, answer)

    def _print(self, html: str, name: str) -> bytes:
        address = self._file(html, name)
        context = self._chromium.new_context(color_scheme="dark")
        try:
            page = context.new_page()
            page.set_default_timeout(_PATIENCE_SECONDS * 1000)
            page.goto(address)
            pdf: bytes = page.pdf(format="A4", print_background=True)
        finally:
            context.close()
        return pdf


def _launch(program: str) -> tuple[Any, Any]:
    from playwright.sync_api import sync_playwright

    playwright = sync_playwright().start()
    # Chromium's own sandbox needs user namespaces, which containers of continuous integration rarely allow; only
    # our own files are opened.
    chromium = playwright.chromium.launch(
        executable_path=program, args=["--no-sandbox", "--disable-gpu"], timeout=_PATIENCE_SECONDS * 1000
    )
    return playwright, chromium


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium, started when a test first asks for it."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("Chromium is not installed (Debian: apt install chromium)")
    one = Browser(program)
    yield one
    one.close()
