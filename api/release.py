"""One immutable release: all rows of a moment, encoded once, swapped by reference.

Readers hold a `Release` and never touch the database. A page is built from row fragments
that are encoded at most once per period; whole answers are kept as well, with their ETag.
"""

import hashlib
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from functools import partial
from itertools import count
from typing import Any, TypeVar, cast

from api import schemas
from api.catalogue import Catalogue, Model, ModelSlug
from api.encoding import Encoded, encoded
from api.energy import EnergyFigure
from api.footprint import METHODOLOGY_VERSION
from api.grid.intensity import Period
from api.grid.ladder import Ladder
from api.index import Column, Index, Page
from api.network import SignedRecord
from api.offerings import Row, Table
from api.present import ACCOUNTING, BOUNDARY, SCOPE, row_body
from api.ranking import Ranked

ATTRIBUTION = [
    "Electricity Maps (ODbL-1.0)",
    "Ember (CC BY 4.0)",
    "ML.ENERGY",
    "AI Energy Score (Apache-2.0)",
    "EcoLogits (MPL-2.0)",
    "genai-prices and litellm price files (MIT)",
]
_KEPT = 512
"""Answers, and requests that came once; the oldest make room."""
_RANKS = b',"rank":%d,"rank_low":%d,"rank_high":%d}'
Target = tuple[str, bytes]
"""Path and raw query of a request."""
Key = TypeVar("Key")
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Release:
    """Everything that answers are made from, as of one refresh."""

    id: str
    computed_at: datetime
    data_as_of: datetime
    inputs_digest: str
    """Names everything that the figures depend on."""
    catalogue: Catalogue
    models: Mapping[ModelSlug, Model]
    names: Mapping[str, ModelSlug]
    figures: tuple[EnergyFigure, ...]
    records: tuple[SignedRecord, ...]
    """Verified round records, oldest first per validator."""
    table: Table
    ladder: Ladder
    sources: tuple[schemas.SourceState, ...]
    index: Index
    """The table's rows by what can be asked of them."""
    _made: dict[Hashable, object] = field(default_factory=dict)
    _answers: dict[Hashable, Encoded] = field(default_factory=dict)
    _asked: dict[Target, str] = field(default_factory=dict)
    """Requests that came once, with the tag of their answer."""
    _hot: dict[Target, Encoded] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def rows(self) -> Sequence[Row]:
        """All rows, unordered."""
        return self.table.rows

    def __repr__(self) -> str:
        """Its name: asyncio and loggers print what they hold."""
        return f"Release({self.id!r}, {len(self.table.rows)} rows)"

    def __reduce__(self) -> tuple[object, ...]:
        """Without index, lock and kept answers: another process makes its own."""
        return _with_index, ({name: getattr(self, name) for name in _TOLD},)

    def row_named(self, name: str) -> Row | None:
        """The row of that id."""
        return self.index.row_named(name)

    def rows_of(self, model: ModelSlug) -> Sequence[Row]:
        """All rows of one model."""
        return self.index.rows_of(model)

    def with_sources(self, sources: Sequence[schemas.SourceState]) -> "Release":
        """The same figures with newer states of the sources; row fragments are kept."""
        return replace(self, sources=tuple(sources), _answers={}, _hot={}, _lock=threading.Lock())

    def meta(self) -> schemas.Meta:
        """What every answer says about itself."""
        return schemas.Meta(
            release=self.id,
            methodology=METHODOLOGY_VERSION,
            data_as_of=self.data_as_of,
            computed_at=self.computed_at,
            scope=SCOPE,
            accounting=ACCOUNTING,
            boundary=BOUNDARY,
            attribution=ATTRIBUTION,
            sources=list(self.sources),
        )

    def meta_json(self) -> bytes:
        """The same as JSON, made once."""
        return self._meta().body

    def _meta(self) -> Encoded:
        return self.answer("meta", lambda: self.meta().model_dump_json().encode())

    def page_json(self, page: Page, period: Period) -> list[bytes]:
        """A page of a ranking as a JSON list, in pieces: it is long, and copied only once."""
        fragments = self._fragments(period)
        pieces = [b"["]
        for rank, position, span in zip(
            count(page.start + 1), page.positions, page.spans, strict=False
        ):
            pieces.append(fragments[position])
            pieces.append(_RANKS % (rank, *span))
            pieces.append(b",")
        pieces[-1] = b"]" if page.positions else b"[]"
        return pieces

    def rows_json(self, items: Sequence[Ranked], period: Period) -> list[bytes]:
        """Rows of a ranking as a JSON list, in pieces."""
        pieces = [b"["]
        for item in items:
            pieces += (*self.row_json(item, period), b",")
        pieces[-1] = b"]" if items else b"[]"
        return pieces

    def row_json(self, item: Ranked, period: Period) -> tuple[bytes, bytes]:
        """One row of a ranking as JSON, in pieces."""
        fragment = self._fragments(period)[self.index.position_of(item.row)]
        return fragment, _RANKS % (item.rank, item.rank_low, item.rank_high)

    def _fragments(self, period: Period) -> Column[bytes]:
        """Rows without their ranks and closing brace."""
        return self.once(
            ("fragments", period),
            lambda: Column(self.index.rows, partial(_fragment, period=period)),
        )

    def answer(
        self,
        key: Hashable,
        build: Callable[[], bytes],
        media_type: str = "application/json",
        *,
        is_named_by_key: bool = False,
    ) -> Encoded:
        """A whole answer by its canonical query; built at most once while it is kept.

        Args:
            key: The canonical query, of figures and names only.
            build: Makes the body.
            media_type: What it is.
            is_named_by_key: Whether release and key say all that the body depends on, so that
                its ETag needs no look at the body.
        """
        held = self._answers.get(key)
        if held is None:
            held = encoded(
                build(), media_type, self.tag(repr(key).encode()) if is_named_by_key else None
            )
            self._keep(self._answers, key, held)
        return held

    def once(self, key: Hashable, build: Callable[[], Made]) -> Made:
        """Something that follows from the release, made at most once; there are few of a kind."""
        if key not in self._made:
            self._made[key] = build()
        return cast(Made, self._made[key])

    def hot(self, target: Target) -> Encoded | None:
        """The answer to a request that came before, by its raw path and query."""
        return self._hot.get(target)

    def remember(self, target: Target, answer: Encoded) -> None:
        """Answer this very request from now on without looking at it again, if it comes again.

        What comes once is not kept: whoever walks through all filters displaces nobody's answers.
        """
        if self._asked.pop(target, None) is None:
            self._keep(self._asked, target, answer.tag)
        else:
            self._keep(self._hot, target, answer)

    def tag(self, *parts: bytes) -> str:
        """Names an answer that follows from the release and these parts of the question."""
        named = b"\0".join((self._meta().tag.encode(), *parts))
        return hashlib.sha256(named).hexdigest()[:16]

    def _keep(self, kept: dict[Key, Made], key: Key, value: Made) -> None:
        with self._lock:
            if len(kept) >= _KEPT:
                kept.pop(next(iter(kept)), None)
            kept[key] = value


_TOLD = [one.name for one in fields(Release) if one.name[0] != "_" and one.name != "index"]


def _with_index(told: dict[str, Any]) -> Release:
    return Release(index=Index(told["table"].rows), **told)


def _fragment(row: Row, period: Period) -> bytes:
    return row_body(row, period).model_dump_json().encode()[:-1]


def utc_now() -> datetime:
    """The time on this machine's clock."""
    return datetime.now(UTC)


class Holder:
    """Holds the release that answers now; the swap is one reference."""

    def __init__(self, clock: Callable[[], datetime] = utc_now) -> None:
        self._clock = clock
        self._release: Release | None = None
        self._refreshed_at: datetime | None = None
        self._failure = ""

    def now(self) -> datetime:
        """The time of a request (aware UTC)."""
        return self._clock()

    @property
    def release(self) -> Release | None:
        """The newest release; None before the first refresh."""
        return self._release

    @property
    def refreshed_at(self) -> datetime | None:
        """When a refresh last succeeded, whether or not it found anything new."""
        return self._refreshed_at

    @property
    def failure(self) -> str:
        """Why the newest refresh failed; empty when it did not."""
        return self._failure

    def swap(self, release: Release) -> None:
        """Answer from this release from now on."""
        self._release = release

    def succeeded(self, now: datetime) -> None:
        """A refresh went through."""
        self._refreshed_at, self._failure = now, ""

    def failed(self, failure: str) -> None:
        """A refresh did not; the release that is held goes on answering."""
        self._failure = failure
