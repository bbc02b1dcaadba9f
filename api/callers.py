"""Who asks, and how often they may: anyone by address, holders of a key by their key."""

import ipaddress
import math
import time
from collections.abc import Callable, Mapping, Sequence

from starlette.types import Scope

from api.keys import ApiKey, key_digest
from api.limits import Limiter, Rate
from api.problems import ProblemError

BURST_SECONDS = 12
"""A burst is what the rate grants in this time."""
FREE_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
_IPV6_SITE_BITS = 64
"""One subscriber's network (RFC 6177): its addresses count as one caller."""


def rate(per_minute: float) -> Rate:
    """A rate with the burst that goes with it."""
    return Rate(per_minute=per_minute, burst=max(1, round(per_minute * BURST_SECONDS / 60)))


class Callers:
    """Admits requests, or says why not and when again."""

    def __init__(
        self,
        *,
        anonymous_per_minute: float,
        trusted_proxies: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keys are put in later, and may be at any time.

        Args:
            anonymous_per_minute: Requests a minute from one address without a key; 0 for any
                number.
            trusted_proxies: How many proxies of the operator stand in front: so many entries
                of `X-Forwarded-For`, from the right, are theirs to say.
            clock: Monotonic seconds.
        """
        self._anonymous = rate(anonymous_per_minute) if anonymous_per_minute else None
        self._trusted_proxies = trusted_proxies
        self._clock = clock
        self._limiter = Limiter()
        self._rates: Mapping[str, tuple[str, Rate]] = {}

    def replace_keys(self, keys: Sequence[ApiKey]) -> None:
        """Admit these keys from now on, but for the revoked ones."""
        self._rates = {
            key.digest: (f"key {key.name}", rate(key.per_minute))
            for key in keys
            if key.revoked_at is None
        }

    def refusal(self, scope: Scope) -> tuple[ProblemError, int] | None:
        """Why a request is refused, and after how many seconds it may come again (0: never)."""
        key = _key(scope)
        if key is not None:
            granted = self._rates.get(key_digest(key))
            if granted is None:
                return _UNKNOWN_KEY, 0
            return self._taken(*granted)
        if self._anonymous is None or scope["path"] in FREE_PATHS:
            return None
        return self._taken(self._address(scope), self._anonymous)

    def _taken(self, caller: str, granted: Rate) -> tuple[ProblemError, int] | None:
        wait_seconds = self._limiter.wait_seconds(caller, granted, self._clock())
        if wait_seconds == 0.0:
            return None
        detail = f"more than {granted.per_minute:g} requests a minute"
        hint = "Wait as Retry-After says, or ask the operator for a key."
        return ProblemError(429, "rate_limited", detail, hint=hint), math.ceil(wait_seconds)

    def _address(self, scope: Scope) -> str:
        if self._trusted_proxies:
            told = [
                part.strip()
                for name, value in scope["headers"]
                if name == b"x-forwarded-for"
                for part in value.decode("latin-1").split(",")
            ]
            if len(told) >= self._trusted_proxies:
                return _site(told[-self._trusted_proxies])
        client = scope.get("client")
        return _site(client[0]) if client else "unknown"


_UNKNOWN_KEY = ProblemError(
    401, "unknown_key", "the API key is not known here, or revoked", hint="Ask without a key."
)


def _key(scope: Scope) -> str | None:
    """The key of `Authorization: Bearer KEY` (RFC 6750) or `X-API-Key: KEY`."""
    for name, value in scope["headers"]:
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return str(value[7:].strip().decode("latin-1"))
        if name == b"x-api-key":
            return str(value.strip().decode("latin-1"))
    return None


def _site(address: str) -> str:
    """An IPv4 address, or the network of an IPv6 subscriber."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network(f"{address}/{_IPV6_SITE_BITS}", strict=False))
    except ValueError:
        return address
