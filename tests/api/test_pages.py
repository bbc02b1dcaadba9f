"""The pages: complete without a script, and the API's figures for the same parameters."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api.app import create_app
from api.release import Holder, Release

ROW = "llama-3.1-8b~self-hosted~eu-netherlands~ml.energy-v3-h100-80gb"
Json = Any
PAGES = (
    "/",
    "/?regime=single",
    "/recommend?model=llama-3.3-70b",
    "/compare",
    "/calculator",
    "/models",
    "/models/llama-3.1-8b",
    "/places",
    "/places/eu-paris",
    "/network",
    "/methodology",
    "/sources",
    "/changes",
    "/docs",
    f"/row/{ROW}",
)
VOID = frozenset({"meta", "link", "input", "br", "img"})
SVG_EMPTY = frozenset({"path", "rect", "circle", "polyline", "polygon"})


class Page(HTMLParser):
    """A page's figures, attributes and nesting."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.values: list[float] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag == "data":
            self.values.append(float(dict(attrs)["value"] or "nan"))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in SVG_EMPTY


async def read(client: httpx.AsyncClient, path: str) -> Page:
    response = await client.get(path, headers={"accept": "text/html"})
    assert response.status_code == 200, response.text[:500]
    return Page(response.text)


async def answer(client: httpx.AsyncClient, path: str, **params: str | int) -> Json:
    response = await client.get(path, params=params)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.fixture(scope="module")
def application(release: Release) -> FastAPI:
    holder = Holder()
    holder.swap(release)
    holder.succeeded(datetime.now(UTC))
    return create_app(holder)


@pytest.fixture
def client(application: FastAPI) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=application)
    return httpx.AsyncClient(transport=transport, base_url="http://api")


@pytest.fixture
async def page(client: httpx.AsyncClient) -> AsyncIterator[str]:
    response = await client.get("/")
    assert response.status_code == 200
    yield response.text


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_needs_no_inline_script_style_or_other_host(
    client: httpx.AsyncClient, path: str
) -> None:
    found = await read(client, path)

    for tag, name, value in found.attributes:
        assert name != "style", (tag, value)
        assert not name.startswith("on"), (tag, name)
        if name in {"src", "action"} or (name == "href" and tag == "link"):
            assert value.startswith("/"), (tag, value)
    assert found.tags.count("script") == sum(
        tag == "script" and name == "src" for tag, name, _ in found.attributes
    )
    assert found.tags.count("h1") == 1


@pytest.mark.parametrize(
    "query",
    ["", "?sort=price&limit=20", "?family=Llama&period=now", "?regime=single&max_price=1"],
)
async def test_the_ranking_shows_the_rows_that_the_api_answers(
    client: httpx.AsyncClient, query: str
) -> None:
    found = await read(client, "/" + query)
    page = httpx.QueryParams({"limit": 50}).merge(httpx.QueryParams(query.lstrip("?")))
    rows = (await client.get("/api/v1/leaderboard", params=page)).json()["rows"]

    expected = []
    for row in rows:
        expected += [row["carbon"]["value"], row["factors"]["energy"]["value"]]
        if row["speed_tokens_per_second"] is not None:
            expected.append(row["speed_tokens_per_second"])
    assert found.values == expected


async def test_the_second_page_follows_the_first(client: httpx.AsyncClient) -> None:
    first = await answer(client, "/api/v1/leaderboard", limit=20)
    second = await answer(client, "/api/v1/leaderboard", limit=20, cursor=first["next"])
    text = (await client.get("/", params={"limit": 20, "cursor": first["next"]})).text

    assert "Rows 21 to 40 of" in text
    for row in second["rows"]:
        assert row["model"]["name"] in text


async def test_a_recommendation_shows_the_answer_of_the_api(client: httpx.AsyncClient) -> None:
    found = await read(client, "/recommend?model=llama-3.3-70b&period=year")
    advice = await answer(client, "/api/v1/recommend", model="llama-3.3-70b", period="year")

    assert found.values[0] == advice["best"]["carbon"]["value"]
    assert found.values[1] == advice["savings"]["value"]
    for other in advice["alternatives"]:
        assert other["carbon"]["value"] in found.values


async def test_a_recommendation_without_an_answer_says_why(client: httpx.AsyncClient) -> None:
    text = (await client.get("/recommend?model=llama-3.3-71b")).text
    impossible = (await client.get("/recommend?model=llama-3.3-70b&max_price=0.0001")).text

    assert "Did you mean one of these?" in text
    assert 'href="/recommend?model=llama-3.3-70b"' in text
    assert "satisfies all constraints" in impossible


async def test_the_calculator_shows_the_footprint_of_the_api(client: httpx.AsyncClient) -> None:
    asked: dict[str, str | int] = {"row": ROW, "queries_per_day": 25_000, "output_tokens": 400}
    text = (await client.get("/calculator", params=asked)).text
    use = await answer(client, "/api/v1/footprint", **asked)

    month, query = use["kg_per_month"]["value"], use["g_per_query"]["value"]
    assert Page(text).values[:3] == [month, month, query]


async def test_the_calculators_file_holds_the_same_figures(client: httpx.AsyncClient) -> None:
    asked: dict[str, str | int] = {"row": ROW, "queries_per_day": 25_000, "output_tokens": 400}
    response = await client.get("/calculator.csv", params=asked)
    use = await answer(client, "/api/v1/footprint", **asked)

    head, line = (text.split(",") for text in response.text.splitlines())
    found = dict(zip(head, line, strict=False))
    assert response.headers["content-disposition"].startswith("attachment")
    assert float(found["kgco2e_per_month"]) == use["kg_per_month"]["value"]
    assert float(found["kgco2e_per_month_low"]) == use["kg_per_month"]["low"]
    assert found["queries_per_day"] == "25000"


async def test_a_comparison_shows_the_answer_of_the_api(client: httpx.AsyncClient) -> None:
    rows = [ROW, ROW.replace("eu-netherlands", "us-virginia")]
    found = await read(client, f"/compare?row={rows[0]}&row={rows[1]}")
    response = await client.get("/api/v1/compare", params={"row": rows})
    compared = response.json()

    assert compared["lowest"]["carbon"]["value"] == found.values[0]
    assert compared["others"][0]["above_lowest_g"]["value"] in found.values


async def test_a_place_shows_the_grid_of_the_api(client: httpx.AsyncClient) -> None:
    found = await read(client, "/places/us-california")
    grid = await answer(client, "/api/v1/grid/us-california/latest")
    forecast = await answer(client, "/api/v1/grid/us-california/forecast")
    typical = await answer(client, "/api/v1/grid/us-california/typical-day")

    now = [grid[name]["value"] for name in ("now", "month", "year")]
    hours = [hour["value"] for hour in forecast["hours"]]
    months = [value for month in typical["intensity_g_per_kwh"] for value in month]
    assert found.values == [*now, *hours, *months]


async def test_a_row_shows_its_factors(client: httpx.AsyncClient) -> None:
    found = await read(client, f"/row/{ROW}")
    use = await answer(client, "/api/v1/footprint", row=ROW, queries_per_day=1_000)

    factors = use["row"]["factors"]
    assert found.values[0] == use["row"]["carbon"]["value"]
    for name in ("energy", "pue", "grid", "embodied"):
        assert factors[name]["value"] in found.values


async def test_every_figure_that_is_not_measured_is_marked_in_its_text(page: str) -> None:
    answers = page.split('<tr class="')[1:]

    assert {row.split('"')[0] for row in answers} == {"modelled", "published"}
    for row in answers:
        carbon = row.split("strong carbon")[1].split("</td>")[0]
        assert ("\N{ALMOST EQUAL TO}" in carbon) is row.startswith("modelled")


async def test_an_open_row_shows_the_lowest_hour_of_the_api(client: httpx.AsyncClient) -> None:
    rows = await answer(client, "/api/v1/leaderboard", place="us-oregon", limit=1)
    row = rows["rows"][0]["id"]
    text = (await client.get("/", params={"place": "us-oregon", "open": row})).text
    forecast = await answer(client, "/api/v1/grid/us-oregon/forecast")

    lowest = min(forecast["hours"], key=lambda hour: hour["value"])
    assert 'aria-expanded="true"' in text
    assert f"lowest {lowest['interval_start'][11:16]} UTC" in text
    assert text.count("lowest</small>") == 1


async def test_fields_that_were_left_empty_are_as_good_as_absent(
    client: httpx.AsyncClient,
) -> None:
    params = {"family": "", "max_price": "", "regime": "served", "place": "eu-paris"}
    response = await client.get("/", params=params)

    assert response.status_code == 200
    assert "Paris" in response.text


async def test_nonsense_is_a_problem_for_programs_and_a_page_for_people(
    client: httpx.AsyncClient,
) -> None:
    program = await client.get("/", params={"sort": "beauty"})
    person = await client.get("/", params={"sort": "beauty"}, headers={"accept": "text/html"})
    lost = await client.get("/nowhere", headers={"accept": "text/html"})
    api = await client.get("/api/v1/nowhere", headers={"accept": "text/html"})

    assert program.headers["content-type"] == "application/problem+json"
    assert person.status_code == program.status_code == 422
    assert "Parameters not understood" in person.text
    assert lost.status_code == 404
    assert "<h1>Not found</h1>" in lost.text
    assert json.loads(api.text)["status"] == 404


async def test_a_page_without_rows_says_so(client: httpx.AsyncClient) -> None:
    response = await client.get("/", params={"family": "nobody"})

    assert "No row satisfies these filters" in response.text


@pytest.mark.parametrize(
    "path", ["/?family=%s", "/recommend?model=%s", "/models?q=%s", "/row/%s", "/models/%s"]
)
async def test_hostile_text_is_escaped(client: httpx.AsyncClient, path: str) -> None:
    hostile = "%3Cscript%3Ealert(1)%3C/script%3E"
    response = await client.get(path % hostile, headers={"accept": "text/html"})

    assert "<script>alert" not in response.text
    assert "<h1>" in response.text


async def test_the_theme_is_kept_in_a_cookie_and_leaves_pages_alone(
    client: httpx.AsyncClient,
) -> None:
    before = await client.get("/methodology")
    switched = await client.post("/theme", data={"theme": "dark", "back": "/methodology"})
    css = await client.get("/theme.css")
    after = await client.get("/methodology")

    assert switched.status_code == 303
    assert switched.headers["location"] == "/methodology"
    assert "color-scheme: dark;" in css.text
    assert after.headers["etag"] == before.headers["etag"]


@pytest.mark.parametrize("back", ["https://evil.example/", "//evil.example", "/\\evil.example"])
async def test_the_theme_switch_leads_to_no_other_site(
    client: httpx.AsyncClient, back: str
) -> None:
    switched = await client.post("/theme", data={"theme": "light", "back": back})

    assert switched.headers["location"] == "/"


async def test_a_theme_that_does_not_exist_is_refused(client: httpx.AsyncClient) -> None:
    assert (await client.post("/theme", data={"theme": "pink"})).status_code == 422
    assert (await client.post("/theme", content=b"x" * 5_000)).status_code == 413


async def test_a_badge_names_value_interval_year_and_method(client: httpx.AsyncClient) -> None:
    response = await client.get(f"/badge/{ROW}.svg")

    assert response.headers["content-type"] == "image/svg+xml"
    assert "12 g/Mtok" in response.text
    assert "served, energy published, method 2026.1" in response.text
    single = ROW.replace("ml.energy-v3-h100-80gb", "ai-energy-score-v1-h100-80gb")
    assert "one at a time" in (await client.get(f"/badge/{single}.svg")).text
    assert (await client.get("/badge/nothing.svg")).status_code == 404


async def test_the_label_names_letter_figure_and_thresholds(client: httpx.AsyncClient) -> None:
    light = await client.get(f"/label/{ROW}.svg")
    dark = await client.get(f"/label/{ROW}.svg?theme=dark")

    assert light.headers["content-type"] == "image/svg+xml"
    for words in ("12 gCO2e", "Class S", "thresholds of 2026", "method 2026.1", "No official"):
        assert words in light.text
    assert "style" not in light.text
    assert dark.text != light.text


async def test_the_widget_is_small_and_may_be_framed(client: httpx.AsyncClient) -> None:
    widget = await client.get(f"/embed/{ROW}")
    css = await client.get("/static/embed.css")

    assert len(widget.content) + len(css.content) < 15_000
    assert "frame-ancestors *" in widget.headers["content-security-policy"]
    assert len(widget.headers.get_list("content-security-policy")) == 1
    assert "frame-ancestors 'none'" in (await client.get("/")).headers["content-security-policy"]


async def test_a_shared_link_has_a_picture(client: httpx.AsyncClient) -> None:
    page = (await client.get(f"/row/{ROW}")).text
    picture = await client.get(f"/og/{ROW}.png")
    front = await client.get("/og.png")

    assert f'property="og:image" content="http://api/og/{ROW}.png"' in page
    for response in (picture, front):
        assert response.headers["content-type"] == "image/png"
        assert response.content.startswith(b"\x89PNG")
        assert len(response.content) < 60_000


async def test_the_document_can_be_read_as_a_page(client: httpx.AsyncClient) -> None:
    page = (await client.get("/docs")).text

    assert "GET /api/v1/leaderboard" in page
    assert "pinned, data_zone, global, undisclosed" in page


async def test_static_files_are_kept_for_good_under_their_digest(
    client: httpx.AsyncClient, page: str
) -> None:
    address = page.split('href="/static/style.css')[1].split('"', maxsplit=1)[0]

    named = await client.get("/static/style.css" + address)
    plain = await client.get("/static/style.css")

    assert "immutable" in named.headers["cache-control"]
    assert "immutable" not in plain.headers["cache-control"]
    assert (await client.get("/static/secrets.txt")).status_code == 404


async def test_a_page_is_not_sent_again_to_whoever_holds_it(client: httpx.AsyncClient) -> None:
    first = await client.get("/places")
    again = await client.get("/places", headers={"if-none-match": first.headers["etag"]})

    assert again.status_code == 304


async def test_the_headline_is_a_sentence_from_the_rows(page: str, release: Release) -> None:
    assert "<h1>Lowest over the newest whole year: " in page
    assert release.id in page
