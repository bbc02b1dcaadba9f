"""Who may ask how often: buckets, keys, proxies."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Scope

from api.app import create_app
from api.callers import Callers
from api.keys import ApiKey, KeyRing, key_digest
from api.limits import MAX_CALLERS, Limiter, Rate
from api.release import Holder, Release
from protocol.errors import ConfigurationError

NOW = datetime(2026, 11, 21, tzinfo=UTC)
KEY = ApiKey(
    name="scheduler", digest=key_digest("cbk_x"), per_minute=60, created_at=NOW, revoked_at=None
)


class Clock:
    """Monotonic time that a test moves."""

    seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def scope(address: str = "203.0.113.7", path: str = "/api/v1/leaderboard", **headers: str) -> Scope:
    listed = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "path": path, "headers": listed, "client": (address, 4711)}


def granted(callers: Callers, times: int, asked: Scope) -> int:
    return sum(callers.refusal(asked) is None for _ in range(times))


def test_a_burst_is_granted_and_then_the_rate() -> None:
    clock = Clock()
    callers = Callers(anonymous_per_minute=60, clock=clock)

    assert granted(callers, 20, scope()) == 12
    clock.seconds += 3.0
    assert granted(callers, 20, scope()) == 3


def test_a_refusal_says_when_to_come_again() -> None:
    clock = Clock()
    callers = Callers(anonymous_per_minute=6, clock=clock)
    assert callers.refusal(scope()) is None

    refusal = callers.refusal(scope())

    assert refusal is not None
    problem, wait_seconds = refusal
    assert (problem.status, problem.code, wait_seconds) == (429, "rate_limited", 10)
    clock.seconds += wait_seconds
    assert callers.refusal(scope()) is None


def test_one_caller_takes_nothing_from_another() -> None:
    callers = Callers(anonymous_per_minute=5, clock=Clock())
    granted(callers, 50, scope("203.0.113.7"))

    assert callers.refusal(scope("203.0.113.8")) is None


def test_an_ipv6_subscriber_is_one_caller() -> None:
    callers = Callers(anonymous_per_minute=5, clock=Clock())
    assert callers.refusal(scope("2001:db8:1:2::1")) is None

    assert callers.refusal(scope("2001:db8:1:2:ffff::9")) is not None
    assert callers.refusal(scope("2001:db8:1:3::1")) is None


def test_a_forwarded_address_counts_only_behind_own_proxies() -> None:
    open_to_all = Callers(anonymous_per_minute=5, clock=Clock())
    behind = Callers(anonymous_per_minute=5, trusted_proxies=1, clock=Clock())

    assert open_to_all.refusal(scope(x_forwarded_for="198.51.100.1")) is None
    assert open_to_all.refusal(scope(x_forwarded_for="198.51.100.2")) is not None
    assert behind.refusal(scope(x_forwarded_for="6.6.6.6, 198.51.100.1")) is None
    assert behind.refusal(scope(x_forwarded_for="7.7.7.7, 198.51.100.1")) is not None
    assert behind.refusal(scope(x_forwarded_for="198.51.100.2")) is None


def test_health_and_metrics_are_never_refused() -> None:
    callers = Callers(anonymous_per_minute=5, clock=Clock())

    assert granted(callers, 50, scope(path="/readyz")) == 50


@pytest.mark.parametrize("header", [{"authorization": "Bearer cbk_x"}, {"x_api_key": "cbk_x"}])
def test_a_key_has_its_own_rate_until_it_is_revoked(header: dict[str, str]) -> None:
    callers = Callers(anonymous_per_minute=5, clock=Clock())
    callers.replace_keys([KEY])
    assert granted(callers, 50, scope(**header)) == 12

    callers.replace_keys([replace(KEY, revoked_at=NOW)])

    refusal = callers.refusal(scope(**header))
    assert refusal is not None
    assert (refusal[0].status, refusal[0].code) == (401, "unknown_key")


@given(
    pauses=st.lists(st.floats(0, 100), min_size=1, max_size=60),
    per_minute=st.floats(0.1, 1e6),
    burst=st.integers(1, 1_000),
)
def test_no_caller_gets_more_than_burst_and_rate(
    pauses: list[float], per_minute: float, burst: int
) -> None:
    limiter, now_seconds, passed = Limiter(), 0.0, 0
    for pause_seconds in pauses:
        now_seconds += pause_seconds
        rate = Rate(per_minute=per_minute, burst=burst)
        passed += limiter.wait_seconds("caller", rate, now_seconds) == 0.0

    assert passed <= burst + sum(pauses) * per_minute / 60 + 1e-6


def test_buckets_do_not_grow_without_end() -> None:
    limiter, rate = Limiter(), Rate(per_minute=1, burst=1)
    for number in range(MAX_CALLERS + 100):
        limiter.wait_seconds(str(number), rate, 0.0)

    assert limiter.wait_seconds("0", rate, 0.0) == 0.0
    assert limiter.wait_seconds(str(MAX_CALLERS + 99), rate, 0.0) > 0.0


@pytest.fixture
def ring(tmp_path: Path) -> Iterator[KeyRing]:
    opened = KeyRing.open(f"sqlite:///{tmp_path / 'keys.sqlite3'}")
    yield opened
    opened.close()


def test_a_key_is_kept_as_a_digest_only(ring: KeyRing, tmp_path: Path) -> None:
    key = ring.add("scheduler", 100)

    (kept,) = ring.all_keys()
    assert kept.digest == key_digest(key)
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert key.encode() not in stored
    assert kept.digest.encode() in stored


def test_a_name_is_given_once_and_revoked_for_good(ring: KeyRing) -> None:
    ring.add("scheduler", 100)
    ring.revoke("scheduler", NOW)
    ring.revoke("scheduler")

    assert ring.all_keys()[0].revoked_at == NOW
    with pytest.raises(ConfigurationError, match="already"):
        ring.add("scheduler", 100)
    with pytest.raises(ConfigurationError, match="no key"):
        ring.revoke("nobody")


async def test_refusals_are_problems_with_headers(release: Release) -> None:
    holder = Holder()
    holder.swap(release)
    app = create_app(holder, callers=Callers(anonymous_per_minute=5, clock=Clock()))
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
        first = await client.get("/api/v1/leaderboard?limit=191")
        again = await client.get("/api/v1/leaderboard?limit=191")
        unknown = await client.get("/api/v1/leaderboard", headers={"x-api-key": "cbk_guess"})
        metrics = (await client.get("/metrics")).text

    assert first.status_code == 200
    assert (again.status_code, again.headers["retry-after"]) == (429, "12")
    assert again.headers["content-type"] == "application/problem+json"
    assert (unknown.status_code, unknown.headers["www-authenticate"]) == (401, "Bearer")
    assert 'carbonbench_api_refused_total{code="rate_limited"} 1.0' in metrics
    assert 'route="/api/v1/leaderboard",status="200"} 1.0' in metrics
