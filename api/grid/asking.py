"""Asking a grid source over HTTP: size limit, retries, one kind of fault, zones side by side."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx

from api.catalogue import ZoneId
from api.grid.intensity import Reading
from protocol.errors import SourceError

MAX_BYTES = 4 * 2**20
ATTEMPTS = 3
CONCURRENCY = 4
PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 5.0
OK = 200
REFUSED = frozenset({401, 403})
AGAIN = frozenset({429, 500, 502, 503, 504})

Json = Any
"""Decoded JSON of a third party; every look into it is guarded by `looked_up`."""


class RefusedError(SourceError):
    """The source does not take our credentials, or not for this zone."""


class KeyedSource:
    """What sources share that are asked with an own token."""

    url: str
    """Where the source answers, unless another place is given."""

    def __init__(self, client: httpx.AsyncClient, token: str, url: str | None = None) -> None:
        self._client = client
        self._token = token
        self._url = (url or self.url).rstrip("/")


async def of_each(
    zones: Iterable[ZoneId], one: Callable[[ZoneId], Awaitable[Sequence[Reading]]]
) -> list[Reading]:
    """The readings of several zones, four asked at a time; zones that fail are left out.

    Raises:
        SourceError: If no zone delivers: the refusal, if one is among the faults.
    """
    gate = asyncio.Semaphore(CONCURRENCY)

    async def guarded(zone: ZoneId) -> Sequence[Reading] | SourceError:
        async with gate:
            try:
                return await one(zone)
            except SourceError as fault:
                return fault

    answers = await asyncio.gather(*map(guarded, zones))
    faults = [answer for answer in answers if isinstance(answer, SourceError)]
    found = [
        reading for answer in answers if not isinstance(answer, SourceError) for reading in answer
    ]
    if faults and not found:
        raise next((fault for fault in faults if isinstance(fault, RefusedError)), faults[0])
    return found


async def ask(
    client: httpx.AsyncClient,
    url: str,
    *,
    params: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    auth: tuple[str, str] | None = None,
) -> Json:
    """The decoded JSON body.

    Raises:
        RefusedError: For 401 and 403.
        SourceError: For anything else that is not JSON under a 200, after three attempts where
            trying again may help.
    """
    body = await fetch(client, url, params=params, headers=headers, auth=auth)
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise SourceError("the answer is not JSON") from error


async def fetch(
    client: httpx.AsyncClient,
    url: str,
    *,
    params: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    auth: tuple[str, str] | None = None,
) -> bytes:
    """The body of a 200.

    Raises:
        RefusedError: For 401 and 403.
        SourceError: For any other answer or none, after three attempts where trying again may
            help, and for a body that is too large.
    """
    fault = SourceError("not asked")
    for attempt in range(ATTEMPTS):
        try:
            response = await client.get(url, params=params, headers=headers, auth=auth)
        except httpx.HTTPError as error:
            fault = SourceError(f"{type(error).__name__}: {error}")
            pause = PAUSE_SECONDS * 2**attempt
        else:
            if response.status_code == OK:
                return _bounded(response)
            fault = _fault(response)
            if response.status_code not in AGAIN:
                raise fault
            pause = _pause_seconds(response, attempt)
        if attempt + 1 < ATTEMPTS:
            await asyncio.sleep(pause)
    raise fault


def moment(text: object) -> datetime:
    """An instant as sources write it, in UTC.

    Raises:
        SourceError: If it is not one.
    """
    try:
        found = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError as error:
        raise SourceError(f"not a time: {text!r}") from error
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def number(value: object) -> float:
    """A finite number, also when it is written as a string.

    Raises:
        SourceError: If it is not one.
    """
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            found = float(value)
        except ValueError:
            pass
        else:
            if abs(found) != float("inf") and found == found:  # noqa: PLR0124 - not a NaN
                return found
    raise SourceError(f"not a number: {value!r}")


def rows(body: Json, *path: str) -> list[dict[str, Json]]:
    """The list of objects under a path of keys.

    Raises:
        SourceError: If there is none.
    """
    found = body
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise SourceError(f"no list of objects under {'/'.join(path)}")
    return found


def _bounded(response: httpx.Response) -> bytes:
    if len(response.content) > MAX_BYTES:
        raise SourceError(f"more than {MAX_BYTES} bytes")
    return response.content


def _fault(response: httpx.Response) -> SourceError:
    detail = f"answered {response.status_code}"
    if response.status_code in REFUSED:
        return RefusedError(detail, hint="Check the credentials of this source.")
    return SourceError(detail)


def _pause_seconds(response: httpx.Response, attempt: int) -> float:
    stated = response.headers.get("retry-after", "")
    wanted = float(stated) if stated.isdigit() else PAUSE_SECONDS * 2**attempt
    return min(wanted, LONGEST_PAUSE_SECONDS)
