"""What people do on the pages, in a real browser."""

import csv
import re
from datetime import timedelta

import pytest
from playwright.sync_api import Page, expect

from api.answers import recommend_answer
from api.catalogue import ModelSlug
from api.grid.intensity import Period
from api.grid_answers import forecast_answer
from api.ranking import Filters
from api.reference_schemas import GridForecast
from api.schemas import Recommendation
from tests.browser.conftest import PHONE, Opener
from tests.browser.stage import NOW, Stage

pytestmark = pytest.mark.browser
MODEL = "llama-3.3-70b"


def carbons(page: Page) -> list[float]:
    """Carbon of the ranking's rows as shown, top to bottom."""
    found = page.locator("#ranking td.carbon data").all()
    return [float(each.get_attribute("value") or "nan") for each in found]


def test_filtering_changes_the_rows_the_sentence_and_the_address(visit: Opener) -> None:
    page = visit("/")
    sentence = page.locator("h1").inner_text()
    page.get_by_text("Filters", exact=True).click()
    page.get_by_label("Family").select_option("Qwen")

    expect(page.locator(".family").first).to_have_text("Qwen")
    assert set(page.locator(".family").all_inner_texts()) == {"Qwen"}
    assert "family=Qwen" in page.url
    assert page.locator("h1").inner_text() != sentence
    page.go_back()
    expect(page.locator("h1")).to_have_text(sentence)


def test_sorting_orders_the_rows_and_says_so(visit: Opener) -> None:
    page = visit("/")
    assert carbons(page) == sorted(carbons(page))
    page.locator("#sort-energy").click()

    expect(page.locator("th[aria-sort]")).to_contain_text("Energy")
    assert "sort=energy" in page.url
    assert carbons(page) != sorted(carbons(page))


def test_paging_leads_on_and_back(visit: Opener) -> None:
    page = visit("/?limit=20")
    first = carbons(page)
    page.get_by_role("link", name="Next 20").click()
    expect(page.locator("#count")).to_contain_text("Rows 21 to 40")
    assert carbons(page)[0] >= first[-1]
    page.get_by_role("link", name="Previous 20").click()
    expect(page.locator("#count")).to_contain_text("Rows 1 to 20")
    assert carbons(page) == first


def test_opening_a_row_shows_its_day_with_the_lowest_hour(visit: Opener, stage: Stage) -> None:
    page = visit("/?place=us-oregon")
    row = page.locator("a.open").first
    row.click()

    place = stage.release.catalogue.places["us-oregon"]  # type: ignore[index]  # ids are plain text here
    forecast = GridForecast.model_validate_json(forecast_answer(stage.release, place, NOW))
    lowest = f"lowest {forecast.cleanest_start:%H:%M} UTC"
    expect(page.locator(".opened svg.curve .low-name")).to_contain_text(lowest)
    expect(page.locator(".opened svg.curve .now-name")).to_have_text("now")
    expect(page.locator(".opened figcaption")).to_contain_text("swing")
    expect(page.locator("a.open").first).to_have_attribute("aria-expanded", "true")
    assert "open=" in page.url
    page.locator("a.open").first.click()
    expect(page.locator(".opened")).to_have_count(0)


def test_recommending_with_constraints_gives_the_answer_of_the_api(
    visit: Opener, stage: Stage
) -> None:
    page = visit("/recommend")
    page.get_by_label("Model").fill(MODEL)
    page.get_by_label("Place").select_option("us-virginia")
    page.get_by_role("button", name="Recommend").click()

    expect(page.locator("#answer")).to_be_visible()
    assert "place=us-virginia" in page.url
    advice = Recommendation.model_validate_json(
        recommend_answer(
            stage.release,
            ModelSlug(MODEL),
            Filters(places=frozenset({"us-virginia"})),
            Period.YEAR,
            NOW,
        )
    )
    shown = page.locator("#answer .big data").get_attribute("value")
    assert float(shown or "nan") == advice.best.carbon.value
    expect(page.locator("#answer")).to_contain_text(advice.insight)


def test_an_impossible_question_names_what_stands_in_the_way(visit: Opener) -> None:
    page = visit("/recommend?model=llama-3.3-70b")
    page.get_by_label("Price up to").fill("0.001")
    page.get_by_role("button", name="Recommend").click()

    expect(page.locator(".empty")).to_contain_text("max_price")


def test_chosen_rows_are_compared_side_by_side(visit: Opener) -> None:
    page = visit("/?model=llama-3.3-70b")
    boxes = page.locator('input[form="compare"]')
    for position in range(3):
        boxes.nth(position).check()
    page.get_by_role("button", name="Compare chosen").click()

    expect(page.locator(".card")).to_have_count(3)
    expect(page.locator(".card").first).to_contain_text("Lowest of these")
    page.get_by_role("link", name=re.compile("^Remove")).last.click()
    expect(page.locator(".card")).to_have_count(2)


def test_calculating_changes_the_month_and_gives_a_file(visit: Opener) -> None:
    page = visit("/calculator")
    before = page.locator("h1 data").get_attribute("value")
    page.get_by_label("Queries").fill("50000")
    page.get_by_label("Queries").press("Enter")
    expect(page.locator("h1")).to_contain_text("50,000 queries")
    after = page.locator("h1 data").get_attribute("value")
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV for a report").click()

    with download.value.path().open() as file:
        line = next(csv.DictReader(file))
    assert float(after or 0) == pytest.approx(50 * float(before or 0), rel=1e-3)
    assert float(line["kgco2e_per_month"]) == float(after or 0)
    assert line["queries_per_day"] == "50000"


def test_the_theme_is_switched_and_kept(visit: Opener) -> None:
    page = visit("/methodology", color_scheme="light")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_role("button", name="Dark theme").click()
    page.wait_for_function(f"{ground} !== {light!r}")
    dark = page.evaluate(ground)
    page.wait_for_timeout(200)
    page.goto("/network")
    assert page.evaluate(ground) == dark
    page.get_by_role("button", name="Light theme").click()
    page.wait_for_function(f"{ground} === {light!r}")


def test_the_keyboard_alone_filters_and_opens(visit: Opener) -> None:
    page = visit("/?place=us-oregon")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="To the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.locator("#f-period").focus()
    page.keyboard.type("last")
    page.keyboard.press("Tab")
    expect(page).to_have_url(re.compile("period=30d"))
    page.locator("a.open").first.focus()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    page.keyboard.press("Enter")
    expect(page.locator(".opened")).to_be_visible()
    expect(page.locator("a.open").first).to_be_focused()


def test_everything_works_without_a_script(visit: Opener) -> None:
    page = visit("/", java_script_enabled=False, color_scheme="light")
    page.get_by_text("Filters", exact=True).click()
    page.locator("#f-place").select_option("us-oregon")
    page.get_by_role("button", name="Show").click()
    assert "place=us-oregon" in page.url
    page.locator("a.open").first.click()
    assert page.locator(".opened svg.curve").count() == 1
    page.locator("#sort-price").click()
    assert "sort=price" in page.url
    page.get_by_role("button", name="Dark theme").click()
    assert "sort=price" in page.url
    assert "color-scheme: dark" in (page.request.get("/theme.css").text())
    page.goto("/recommend")
    page.get_by_label("Model").fill(MODEL)
    page.get_by_role("button", name="Recommend").click()
    assert page.locator("#answer").count() == 1
    page.goto("/calculator")
    page.get_by_label("Queries").fill("7")
    page.get_by_role("button", name="Calculate").click()
    assert "7 queries" in page.locator("h1").inner_text()


@pytest.mark.parametrize(
    "path",
    ["/", "/recommend?model=llama-3.3-70b", "/places/us-california", "/network", "/methodology"],
)
def test_a_narrow_phone_needs_no_sideways_scrolling(visit: Opener, path: str) -> None:
    page = visit(path, viewport=PHONE, has_touch=True, is_mobile=True)

    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    if path == "/":
        first = page.locator("td.carbon").first.bounding_box()
        assert first is not None
        assert first["x"] + first["width"] <= PHONE["width"]


@pytest.mark.parametrize("path", ["/", "/compare", "/calculator", "/models", "/network"])
def test_no_data_is_said_plainly(visit: Opener, stage: Stage, path: str) -> None:
    with stage.showing(stage.empty):
        page = visit(path)

        assert page.locator("h1").inner_text().strip()
        if path in {"/", "/calculator"}:
            expect(page.locator(".empty")).to_contain_text("no figures yet")


def test_old_data_are_called_old(visit: Opener, stage: Stage) -> None:
    with stage.at(NOW + timedelta(hours=5)):
        page = visit("/")

        expect(page.locator(".notice.stale")).to_contain_text("Old data")
        expect(page.locator(".notice.stale")).to_contain_text("20:20 UTC")


def test_a_source_that_is_down_is_named_and_its_data_stay(visit: Opener, stage: Stage) -> None:
    with stage.showing(stage.with_source_down()):
        page = visit("/")

        expect(page.locator(".notice.source")).to_contain_text("unreachable")
        assert len(carbons(page)) == 50


def test_a_refresh_that_failed_is_said(visit: Opener, stage: Stage) -> None:
    stage.holder.failed("the disk is full")
    try:
        page = visit("/")
        expect(page.locator(".notice.failed")).to_contain_text("the disk is full")
    finally:
        stage.holder.succeeded(NOW)


def test_a_report_shows_its_power_checks_and_proof(visit: Opener, stage: Stage) -> None:
    page = visit("/network")
    page.get_by_role("link", name=re.compile("^report of")).first.click()

    expect(page).to_have_url(re.compile(f"/reports/{stage.verdict_digest}$"))
    expect(page.locator(".uplot canvas")).to_be_visible()
    expect(page.get_by_text("picked by the hash of block 1843")).to_be_visible()
    expect(page.get_by_text("Entry 0 of 2")).to_be_visible()
    expect(page.locator(".banner")).to_contain_text("Simulated")


def test_times_are_also_told_in_the_readers_own(visit: Opener) -> None:
    page = visit("/changes")

    assert "UTC" in page.locator("main time").first.inner_text()
    expect(page.locator("main time").first).to_have_attribute(
        "title", re.compile("your time: 21 Nov 2026, 21:20")
    )
