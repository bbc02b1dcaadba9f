"""What every page stands in: templates, filters, the clock, notices, errors for people.

A page is rendered from the release that answers, at an hour, and kept with its ETag like any
other answer. Pages show what the API answers: views parse the API's own bytes by its schema.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import jinja2
from fastapi import Request
from fastapi.responses import Response
from markupsafe import Markup, escape

from api.archive import Archive
from api.charts.scale import written
from api.charts.small import interval_bar
from api.footprint import METHODOLOGY_VERSION
from api.network_evidence import Evidence
from api.release import Holder, Release
from api.routes import current, respond
from api.schemas import Problem

HTML = "text/html; charset=utf-8"
HERE = Path(__file__).parent.parent
STALE = timedelta(hours=2)
"""A refresh that is older than this is said to be old on every page."""
Context = Mapping[str, Any]
"""What a template is given."""
NAVIGATION = (
    ("/", "Ranking"),
    ("/recommend", "Recommend"),
    ("/compare", "Compare"),
    ("/calculator", "Calculator"),
    ("/models", "Models"),
    ("/places", "Places"),
    ("/network", "Network"),
    ("/methodology", "Method"),
)
MARKS = {"verified": "", "published": "", "simulated": "sim\N{NO-BREAK SPACE}"}
"""Written before a figure, so that a grey print tells it apart; all others are approximate."""
APPROXIMATE = "\N{ALMOST EQUAL TO}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A state of the data that every page names."""

    kind: str
    """`stale`, `failed` or `source`."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What the pages are made of."""

    holder: Holder
    evidence: Evidence
    environment: jinja2.Environment
    archive: Archive | None = None
    """Past releases; None on a node that keeps none."""

    def now(self) -> datetime:
        """The current time, aware UTC."""
        return self.holder.now().astimezone(UTC)

    def page(
        self,
        request: Request,
        template: str,
        build: Callable[[Release, datetime], Context],
        variant: str = "",
    ) -> Response:
        """A page over the release that answers, kept until the hour or a notice changes.

        Args:
            request: What was asked.
            template: Name of the page's template.
            build: Gives what the template is filled with.
            variant: What else the page depends on, beside release, address and hour.
        """
        release, now = current(self.holder), self.now()
        notices = self.notices(release, now)
        base = str(request.base_url).rstrip("/")
        key = f"page {base}{_address(request)}@{now:%Y%m%d%H} {notices!r} {variant}"
        answer = release.answer(
            key,
            lambda: self.render(
                template,
                {
                    **build(release, now),
                    "release": release,
                    "now": now,
                    "notices": notices,
                    "path": request.url.path,
                    "address": _address(request),
                    "base": base,
                },
            ),
            HTML,
        )
        return respond(request, answer)

    def render(self, template: str, context: Context) -> bytes:
        """A template as bytes."""
        return self.environment.get_template(template).render(context).encode()

    def notices(self, release: Release, now: datetime) -> tuple[Notice, ...]:
        """What a reader must know about the state of the data."""
        found = []
        refreshed = self.holder.refreshed_at
        if refreshed is not None and now - refreshed > STALE:
            text = (
                f"These figures are old: the newest refresh was at {refreshed:%Y-%m-%d %H:%M} UTC."
            )
            found.append(Notice(kind="stale", text=text))
        if self.holder.failure:
            text = (
                f"The newest refresh failed ({self.holder.failure}); release {release.id} goes on."
            )
            found.append(Notice(kind="failed", text=text))
        for source in release.sources:
            if source.state in {"refused", "unreachable"}:
                as_of = source.data_as_of
                since = (
                    f"its data of {as_of:%Y-%m-%d %H:%M} UTC stand" if as_of else "it gave nothing"
                )
                text = f"{source.kind} {source.name} is {source.state}: {source.detail}; {since}."
                found.append(Notice(kind="source", text=text))
        return tuple(found)

    def problem(self, request: Request, problem: Problem) -> Response:
        """A problem as a page."""
        html = self.render(
            "problem.html",
            {
                "problem": problem,
                "release": self.holder.release,
                "now": self.now(),
                "notices": (),
                "path": request.url.path,
                "address": "/",
                "base": "",
            },
        )
        return Response(html, problem.status, {"cache-control": "no-store"}, media_type=HTML)


@cache
def build_environment() -> jinja2.Environment:
    """The templates with their filters; compiled once in a process."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        figure=written,
        data=data,
        money=money,
        moment=moment,
        short=short,
        row_path=row_path,
        tojson=json.dumps,
    )
    environment.globals.update(
        interval_bar=interval_bar,
        methodology=METHODOLOGY_VERSION,
        navigation=NAVIGATION,
        static=STATIC_VERSIONS,
    )
    return environment


def with_header(response: Response, name: str, value: str) -> Response:
    """The response with one header set; the list of others may be shared and stays as it is."""
    key = name.encode()
    others = [header for header in response.raw_headers if header[0] != key]
    response.raw_headers = [*others, (key, value.encode())]
    return response


def data(value: float | None, status: str = "published", digits: int = 3) -> Markup:
    """A figure of the API: its exact value for machines, fewer digits for people.

    Modelled and simulated figures carry a mark in the text itself.
    """
    if value is None:
        return Markup('<span class="none">not stated</span>')
    mark = mark_of(status)
    return Markup('<data value="{exact}">{mark}{text}</data>').format(
        exact=f"{value:.10g}",
        mark=Markup('<span class="mark {0}">{1}</span>').format(status, mark) if mark else "",
        text=written(value, digits),
    )


def mark_of(status: str) -> str:
    """What stands before a figure of this status."""
    return MARKS.get(status, APPROXIMATE)


def money(value: Decimal | None) -> str:
    """An amount without trailing zeros."""
    return "not stated" if value is None else f"{value.normalize():f}"


def moment(value: datetime, shown: str = "%Y-%m-%d %H:%M UTC") -> Markup:
    """An instant in UTC; the script adds the reader's own time."""
    utc = value.astimezone(UTC)
    return Markup('<time datetime="{0}">{1}</time>').format(
        utc.strftime("%Y-%m-%dT%H:%M:%SZ"), utc.strftime(shown)
    )


def short(text: str, length: int = 10) -> Markup:
    """The start of a key or digest; the whole of it on demand."""
    return Markup('<abbr class="key" title="{0}">{1}\N{HORIZONTAL ELLIPSIS}</abbr>').format(
        text, escape(text[:length])
    )


def row_path(row_id: str) -> str:
    """A row's name as part of a path."""
    return quote(row_id, safe="~.-")


def link(path: str, parameters: Mapping[str, object], **changes: object) -> str:
    """A path with its parameters, some of them changed; empty ones are left out."""
    merged = {k: v for k, v in {**parameters, **changes}.items() if v not in (None, "", [])}
    return f"{path}?{urlencode(merged, doseq=True)}" if merged else path


def _address(request: Request) -> str:
    query = request.url.query
    return f"{request.url.path}?{query}" if query else request.url.path


def _versions() -> dict[str, str]:
    """Address of each static file with the digest of its content, so that it can be kept."""
    return {
        path.name: f"/static/{path.name}?v={hashlib.sha256(path.read_bytes()).hexdigest()[:10]}"
        for path in sorted((HERE / "static").iterdir())
        if path.is_file()
    }


STATIC_VERSIONS = _versions()
