"""Sources that fail at random, seeded: a log, a grid service, a price book and a database."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

import httpx

from api.catalogue import Evidence
from api.grid.intensity import Reading
from api.offerings import Price
from api.release import Release
from api.store import LogSourceRow, Store, StoredEntry
from protocol.errors import SourceError, StoreError
from tests.support.keys import BOB
from tests.support.log import DevLog

HOUR = timedelta(hours=1)


@dataclass
class Weather:
    """Whether something fails just now."""

    chance: random.Random
    share: float = 0.5

    def fails(self) -> bool:
        return self.chance.random() < self.share

    def calm(self) -> None:
        self.share = 0.0


def true_intensity(hour: datetime) -> float:
    """What the grid really emits in an hour (gCO2e per kWh)."""
    return 200.0 + hour.toordinal() % 7 + 10 * hour.hour


@dataclass
class FlakyGrid:
    """Electricity Maps in its recorded shape, or broken in one of the ways it breaks."""

    weather: Weather
    now: datetime

    def answer(self, request: httpx.Request) -> httpx.Response:
        if not self.weather.fails():
            return self._recorded(request)
        way = self.weather.chance.randrange(9)
        if way < 4:
            return httpx.Response((401, 429, 500, 503)[way])
        if way == 4:
            raise httpx.ReadTimeout("too slow", request=request)
        if way == 5:
            return httpx.Response(200, content=b"<html>")
        if way == 6:
            return httpx.Response(200, json={"zone": "XX", "history": []})
        return self._recorded(request, absurd=-50.0 if way == 7 else 1e7)

    def _recorded(self, request: httpx.Request, absurd: float | None = None) -> httpx.Response:
        zone = request.url.params["zone"]
        hour = self.now.replace(minute=0, second=0)
        history = [
            {
                "zone": zone,
                "carbonIntensity": absurd if absurd is not None else true_intensity(start),
                "datetime": start.isoformat(),
                "emissionFactorType": "lifecycle",
                "isEstimated": False,
            }
            for start in (hour - back * HOUR for back in range(24))
        ]
        return httpx.Response(200, json={"zone": zone, "history": history})


@dataclass
class FlakyLog:
    """A validator's log that is unreachable, garbled or signed by somebody else at times."""

    weather: Weather
    log: DevLog = field(default_factory=DevLog)
    is_forged: bool = False
    """Whether the newest head was signed by somebody else."""

    def answer(self, request: httpx.Request) -> httpx.Response:
        is_head = request.url.path == "/v1/log/head"
        if is_head:
            self.log.head_signer, self.is_forged = None, False
        if self.weather.fails():
            way = self.weather.chance.randrange(4)
            if way == 0:
                raise httpx.ConnectError("connection refused", request=request)
            if way == 1:
                return httpx.Response(500)
            if way == 2:
                return httpx.Response(200, content=b'{"payload":')
            if is_head:
                self.log.head_signer, self.is_forged = BOB, True
        return self.log.answer(request)


@dataclass
class FlakyBook:
    """The observed prices of the tables; now and then 1,000 times as much, or none at all."""

    weather: Weather
    name: str = "book"

    def price(self, evidence: Evidence, now: datetime) -> Price | None:
        asked, answered = evidence.input_usd_per_mtok, evidence.output_usd_per_mtok
        if asked is None or answered is None:
            return None
        factor = Decimal(1)
        if self.weather.fails():
            factor = Decimal(1_000)
        elif self.weather.fails():
            raise SourceError("the book is being rewritten")
        return Price(
            input_usd_per_mtok=asked * factor,
            output_usd_per_mtok=answered * factor,
            observed=now.date(),
            source=self.name,
            licence="MIT",
        )


class FlakyStore(Store):
    """A database whose disk is full at times."""

    weather: Weather | None = None

    def keep(self, release: Release, inputs_digest: str) -> None:
        self._may_fail()
        super().keep(release, inputs_digest)

    def keep_readings(self, readings: Sequence[Reading]) -> None:
        self._may_fail()
        super().keep_readings(readings)

    def readings_since(self, start: datetime) -> tuple[Reading, ...]:
        self._may_fail()
        return super().readings_since(start)

    def extend_log(self, head: LogSourceRow, entries: Sequence[StoredEntry]) -> None:
        self._may_fail()
        super().extend_log(head, entries)

    def record_fault(self, url: str, code: str, detail: str, body: bytes, now: datetime) -> None:
        self._may_fail()
        super().record_fault(url, code, detail, body, now)

    def _may_fail(self) -> None:
        if self.weather is not None and self.weather.fails():
            raise StoreError("database or disk is full", hint="Free some space.")
