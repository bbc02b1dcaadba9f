"""The HTTP face of the past: kept releases, a frozen one, changes, a row's history.

These answers are read from the archive: they are about what was, so no hot path needs them.
"""

import base64
import binascii
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from api import export_schemas as shown
from api.archive import Archive, KeptRelease, RowChange
from api.encoding import encoded
from api.exports import LICENCE
from api.grid.readings import HISTORY_SPAN
from api.problems import ProblemError
from api.reference_routes import Zone, place_named
from api.reference_schemas import GridSignals
from api.release import ATTRIBUTION, Holder
from api.routes import PROBLEMS, current, respond
from api.schemas import Answer
from api.signals import kept_signals, signals_answer
from protocol.errors import StoreError

Cursor = Annotated[str, Field(max_length=100)]
ReleaseName = Annotated[
    str,
    Path(
        pattern=r"^(latest|[0-9]{4}-[0-9]{2}-[0-9]{2}(-[0-9a-f]{8})?)$",
        max_length=40,
        description="Its id, its day (the newest of that day) or `latest`.",
    ),
]
LATEST = "latest"


class PastQuery(BaseModel):
    """Parameters of a list that goes back in time."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    limit: Annotated[int, Field(ge=1, le=200)] = 50
    """Entries on a page."""
    cursor: Cursor | None = None
    """`next` of the page before."""


def build_archive_routes(holder: Holder, archive: Archive | None) -> APIRouter:
    """All routes over the archive; without one they say so."""
    router = APIRouter(tags=["past"], responses=PROBLEMS)
    _add_releases(router, holder, archive)
    _add_changes(router, holder, archive)
    _add_signals(router, holder, archive)
    return router


def _add_releases(router: APIRouter, holder: Holder, archive: Archive | None) -> None:
    @router.get("/api/v1/releases", response_model=shown.Releases, summary="Every kept release")
    def releases(request: Request, query: Annotated[PastQuery, Query()]) -> Response:
        release = current(holder)
        before = _moment(_cursor_text(query.cursor)) if query.cursor else None
        with asking(archive) as past:
            kept = past.releases(query.limit, before)
        last = kept[-1].computed_at.isoformat() if len(kept) == query.limit else None
        answer = shown.Releases(
            releases=[_summary(item) for item in kept],
            next=_cursor(last) if last else None,
            meta=release.meta(),
        )
        return _sent(request, answer)

    @router.get(
        "/api/v1/releases/{name}",
        response_model=shown.FrozenRelease,
        summary="The figures of a release, by its id, its day or `latest`",
    )
    def frozen(request: Request, name: ReleaseName) -> Response:
        wanted = current(holder).id if name == LATEST else name
        with asking(archive) as past:
            kept = past.release(wanted)
            rows = past.rows_json(kept.id) if kept else None
        if kept is None or rows is None:
            detail = f"no figures of a release {wanted!r} are kept"
            raise ProblemError(404, "unknown_release", detail, hint="See /api/v1/releases.")
        head = shown.FrozenRelease(
            release=_summary(kept), licence=LICENCE, attribution=ATTRIBUTION, rows=[]
        )
        # Releases with the same figures share one body, which therefore names none of them.
        named = rows.replace(b'"release":""', b'"release":"%b"' % kept.id.encode())
        body = head.model_dump_json().encode().replace(b'"rows":[]', b'"rows":%b' % named, 1)
        return respond(request, encoded(body))


def _add_changes(router: APIRouter, holder: Holder, archive: Archive | None) -> None:
    @router.get(
        "/api/v1/changes",
        response_model=shown.Changes,
        summary="What changed in the ranking from release to release",
    )
    def changes(request: Request, query: Annotated[PastQuery, Query()]) -> Response:
        release = current(holder)
        before = _number(_cursor_text(query.cursor)) if query.cursor else None
        with asking(archive) as past:
            found = past.changes(query.limit, before)
        answer = shown.Changes(
            changes=[_change(item) for item in found],
            next=_cursor(str(found[-1].id)) if len(found) == query.limit else None,
            meta=release.meta(),
        )
        return _sent(request, answer)

    @router.get(
        "/api/v1/history/{row:path}",
        response_model=shown.RowHistory,
        summary="How a row of the ranking changed since it is known",
    )
    def history(
        request: Request,
        row: Annotated[
            str, Path(min_length=1, max_length=300, description="`id` of a row, also a former one.")
        ],
    ) -> Response:
        release = current(holder)
        with asking(archive) as past:
            found = past.row_changes(row)
        is_current = release.row_named(row) is not None
        if not found and not is_current:
            detail = f"no row is or was named {row!r}"
            raise ProblemError(404, "unknown_row", detail, hint="Take the id from the leaderboard.")
        answer = shown.RowHistory(
            row=row,
            is_current=is_current,
            points=[_point(item) for item in found],
            meta=release.meta(),
        )
        return _sent(request, answer)


def _add_signals(router: APIRouter, holder: Holder, archive: Archive | None) -> None:
    @router.get(
        "/api/v1/grid/{zone}/signals",
        response_model=GridSignals,
        summary="What was reported beside the lifecycle average: marginal, direct, production",
    )
    def signals(request: Request, zone: Zone) -> Response:
        release = current(holder)
        place = place_named(release, zone)
        with asking(archive) as past:
            kept = kept_signals(past, place.zone, holder.now() - HISTORY_SPAN)
        return _sent(request, signals_answer(release, place, kept))


@contextmanager
def asking(archive: Archive | None) -> Iterator[Archive]:
    """The archive, or the problem that it does not answer."""
    if archive is None:
        raise ProblemError(503, "no_archive", "this node keeps no archive")
    try:
        yield archive
    except StoreError as fault:
        detail = "the archive does not answer; current figures are not affected"
        raise ProblemError(503, "archive_unavailable", detail, hint="Retry later.") from fault


def _summary(kept: KeptRelease) -> shown.ReleaseSummary:
    return shown.ReleaseSummary(
        id=kept.id,
        computed_at=kept.computed_at,
        methodology=kept.methodology,
        row_count=kept.row_count,
        network_count=kept.network_count,
        is_frozen=kept.is_frozen,
        href=f"/api/v1/releases/{kept.id}",
    )


def _change(item: RowChange) -> shown.Change:
    kind = "added" if item.before is None else "removed" if item.after is None else "changed"
    return shown.Change(
        release=item.release,
        at=item.at,
        row=item.row,
        kind=kind,
        before=shown.RowState.model_validate(item.before) if item.before else None,
        after=shown.RowState.model_validate(item.after) if item.after else None,
    )


def _point(item: RowChange) -> shown.HistoryPoint:
    return shown.HistoryPoint(
        since=item.at,
        release=item.release,
        state=shown.RowState.model_validate(item.after) if item.after else None,
    )


def _cursor(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _cursor_text(cursor: str) -> str:
    try:
        return base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except (binascii.Error, ValueError) as fault:
        raise _no_cursor() from fault


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as fault:
        raise _no_cursor() from fault
    if found.tzinfo is None:
        raise _no_cursor()
    return found


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > _INT64_DIGITS:
        raise _no_cursor()
    return int(text)


_INT64_DIGITS = 18


def _no_cursor() -> ProblemError:
    detail = "this is not a cursor of ours"
    return ProblemError(422, "invalid_parameters", detail, hint="Start anew.")


def _sent(request: Request, answer: Answer) -> Response:
    return respond(request, encoded(answer.model_dump_json().encode()))
