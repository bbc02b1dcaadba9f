"""One browser and one application for all browser tests; a fresh profile for each test."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, sync_playwright

from tests.browser.stage import Stage, open_stage
from tests.support.needs import need_chromium, need_npm, skip_missing

WIDE = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
FLAGS = (
    "--font-render-hinting=none",
    "--disable-lcd-text",
    "--force-color-profile=srgb",
    "--disable-gpu",
)
Opener = Callable[..., Page]


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The application."""
    with open_stage(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The machine's own Chromium; closed with the module, for Playwright keeps a loop running."""
    path = need_chromium()
    is_root = os.geteuid() == 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=[*FLAGS, *(["--no-sandbox"] if is_root else [])]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core."""
    path = Path(sys.prefix) / "browser" / "node_modules" / "axe-core" / "axe.min.js"
    if not path.exists():
        need_npm()
        skip_missing("axe-core (make .venv/.browser)")
    return path.read_text()


@pytest.fixture
def visit(chromium: Browser, stage: Stage) -> Iterator[Opener]:
    """Opens a page of the application, and fails on errors and on requests to others."""
    contexts: list[BrowserContext] = []
    faults: list[str] = []

    def asked(request: Request) -> None:
        if not request.url.startswith((stage.url, "data:", "blob:")):
            faults.append(f"asked another host: {request.url}")

    def opened(path: str, **options: object) -> Page:
        chosen = {"viewport": WIDE, "timezone_id": "Europe/Berlin", "locale": "en-GB", **options}
        context = chromium.new_context(base_url=stage.url, **chosen)  # type: ignore[arg-type]  # names and types are Playwright's
        context.set_default_timeout(15_000)
        contexts.append(context)
        page = context.new_page()
        page.on("request", asked)
        page.on("pageerror", lambda error: faults.append(f"script failed: {error}"))
        page.on("console", lambda message: _note(faults, message.type, message.text))
        response = page.goto(path)
        assert response is not None
        assert response.status == 200, path
        return page

    yield opened
    for context in contexts:
        context.close()
    assert faults == []


def _note(faults: list[str], kind: str, text: str) -> None:
    if kind in {"error", "warning"}:
        faults.append(f"console {kind}: {text}")
