"""Accessibility, budgets and looks of every page, in both themes."""

import io
import os
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageFilter, ImageStat
from playwright.sync_api import Locator, Page, Response

from tests.browser.conftest import Opener
from tests.browser.stage import Stage

pytestmark = pytest.mark.browser
BASELINES = Path(__file__).parent / "baselines"
RENEW = "CARBONBENCH_NEW_BASELINES"
ROW = "mistral-7b~aws-bedrock~eu-west-3~ml.energy-v2-h100-80gb"
OTHER = "mistral-7b~aws-bedrock~us-west-2~ml.energy-v2-h100-80gb"
PAGES = {
    "ranking": "/",
    "open-row": f"/?place=us-oregon&open={OTHER}#ranking",
    "simulated": "/?regime=single&status=simulated",
    "row": f"/row/{ROW}",
    "recommend": "/recommend?model=llama-3.3-70b",
    "models": "/models?q=llama",
    "model": "/models/llama-3.1-8b",
    "places": "/places",
    "place": "/places/us-california",
    "compare": f"/compare?row={ROW}&row={OTHER}",
    "calculator": "/calculator",
    "network": "/network",
    "report": "/reports/{verdict}",
    "methodology": "/methodology",
    "sources": "/sources",
    "changes": "/changes",
    "docs": "/docs",
}
LARGEST_MEAN = 3.0
"""Largest mean difference of a channel (0 to 255) after blurring."""
LARGEST_SHARE = 0.02
"""Largest share of pixels that differ by more than a quarter of the range after blurring."""
KB = 1024
CONTRAST_ONLY: dict[str, object] = {"runOnly": ["color-contrast"]}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_accessible_and_looks_as_reviewed(
    visit: Opener, stage: Stage, axe: str, name: str, theme: str
) -> None:
    page = visit(PAGES[name].format(verdict=stage.verdict_digest), color_scheme=theme)

    # Only contrast differs between the themes.
    assert violations(page, axe, {} if theme == "light" else CONTRAST_ONLY) == []
    assert_looks_like(page, BASELINES / f"{name}-{theme}.png")


def violations(page: Page, axe: str, options: dict[str, object]) -> list[str]:
    """What axe-core finds wrong (WCAG 2.2 A and AA, and its best practices)."""
    page.evaluate(axe)
    run = "options => axe.run(document, { resultTypes: ['violations'], ...options })"
    found = page.evaluate(run, options)
    return [
        f"{each['id']}: {node['target']} {node['failureSummary']}"
        for each in found["violations"]
        for node in each["nodes"]
    ]


def assert_looks_like(page: Page, baseline: Path) -> None:
    """Compare the first screen with the reviewed one, as far as an eye would tell."""
    shown = Image.open(io.BytesIO(page.screenshot(animations="disabled"))).convert("RGB")
    if os.environ.get(RENEW) == "1":
        baseline.parent.mkdir(exist_ok=True)
        shown.convert("P", palette=Image.Palette.ADAPTIVE, colors=48).save(baseline, optimize=True)
        return
    reviewed = Image.open(baseline).convert("RGB")
    assert shown.size == reviewed.size
    mean, share = distance(shown, reviewed)
    assert mean <= LARGEST_MEAN, (mean, share)
    assert share <= LARGEST_SHARE, (mean, share)


def distance(one: Image.Image, other: Image.Image) -> tuple[float, float]:
    """Mean difference of a channel, and the share of pixels that differ much, both blurred."""
    soft = [image.filter(ImageFilter.BoxBlur(6)) for image in (one, other)]
    difference = ImageChops.difference(*soft)
    mean = sum(ImageStat.Stat(difference).mean) / 3
    counts = difference.convert("L").histogram()
    return mean, sum(counts[64:]) / sum(counts)


def test_the_comparison_sees_a_change_that_a_person_would_see(visit: Opener) -> None:
    page = visit("/")
    before = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    page.evaluate("document.querySelector('.facts').remove()")
    after = Image.open(io.BytesIO(page.screenshot())).convert("RGB")

    mean, share = distance(before, after)
    assert mean > LARGEST_MEAN or share > LARGEST_SHARE


def transferred(responses: list[Response], kinds: frozenset[str]) -> int:
    """Bytes of bodies as they came over the wire."""
    return sum(
        response.request.sizes()["responseBodySize"]
        for response in responses
        if response.request.resource_type in kinds
    )


def loaded(visit: Opener, path: str, **options: object) -> list[Response]:
    """All responses of a page that is loaded with an empty cache."""
    page = visit("/theme.css", **options)
    responses: list[Response] = []

    def came(response: Response) -> None:
        responses.append(response)

    page.on("response", came)
    page.goto(path, wait_until="networkidle")
    return responses


def test_scripts_and_styles_stay_within_60_kb(visit: Opener, stage: Stage) -> None:
    kinds = frozenset({"script", "stylesheet"})
    heaviest = transferred(loaded(visit, f"/reports/{stage.verdict_digest}"), kinds)

    assert 10 * KB < heaviest <= 60 * KB


def test_the_first_page_stays_within_100_kb_without_a_script(visit: Opener) -> None:
    responses = loaded(visit, "/", java_script_enabled=False)
    everything = frozenset(response.request.resource_type for response in responses)

    assert "script" not in everything
    assert 10 * KB < transferred(responses, everything) <= 100 * KB


@pytest.mark.parametrize("name", ["ranking", "place", "report", "row"])
def test_nothing_jumps_while_a_page_loads(visit: Opener, stage: Stage, name: str) -> None:
    page = visit("/theme.css")
    page.add_init_script(
        "window.shift = 0; new PerformanceObserver((list) => {"
        "for (const entry of list.getEntries()) window.shift += entry.value;"
        "}).observe({ type: 'layout-shift', buffered: true });"
    )
    page.goto(PAGES[name].format(verdict=stage.verdict_digest), wait_until="networkidle")
    page.wait_for_timeout(150)

    assert page.evaluate("window.shift") <= 0.02


def grey(part: Locator) -> Image.Image:
    """A part of the page as a grey print shows it, brought to one size."""
    shot = Image.open(io.BytesIO(part.screenshot())).convert("L")
    return shot.resize((120, 24))


def test_a_grey_print_tells_simulated_and_modelled_from_verified(visit: Opener) -> None:
    asked = "regime=single&place=eu-paris&limit=200"
    asked += "&status=simulated&status=verified&status=published"
    page = visit(f"/?{asked}")
    page.emulate_media(media="print")
    verified = page.locator("tr.verified")
    simulated = page.locator("tr.simulated")
    assert verified.count() > 0
    assert simulated.count() > 0
    for row in simulated.all():
        assert row.locator("td.carbon").inner_text().startswith("sim")
        assert "SIMULATED" in row.locator(".chip").inner_text()
    for row in verified.all():
        assert row.locator("td.carbon .mark").count() == 0
    chips = {
        "verified": grey(verified.first.locator(".chip")),
        "simulated": grey(simulated.first.locator(".chip")),
    }
    page.goto("/")
    page.emulate_media(media="print")
    modelled = page.locator("tr.modelled")
    for row in modelled.all():
        assert row.locator("td.carbon").inner_text().startswith("\N{ALMOST EQUAL TO}")
    chips["modelled"] = grey(modelled.first.locator(".chip"))
    for other in ("simulated", "modelled"):
        difference = ImageChops.difference(chips["verified"], chips[other])
        assert ImageStat.Stat(difference).mean[0] > 40, other
