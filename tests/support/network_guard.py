"""Which hosts tests may reach: loopback, and the chain node that an operator names."""

import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit


def resolved(host: str) -> set[str]:
    """The addresses of a host, as the system's resolver gives them now."""
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(host, None)}
    except OSError:
        return set()


@dataclass(slots=True)
class NetworkGuard:
    """Says whether a host or address may be reached.

    Args:
        hosts: Names or addresses beyond loopback that may be.
        addresses_of: Resolves a name.
    """

    hosts: frozenset[str] = frozenset()
    addresses_of: Callable[[str], set[str]] = resolved
    _addresses: set[str] = field(default_factory=set)

    def allows(self, host: str) -> bool:
        """Whether it is loopback, one of the hosts, or an address of one of them."""
        name = host.partition("%")[0]
        if name in {"", "localhost"} or name in self.hosts:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or (bool(self.hosts) and self._belongs(str(address)))

    def _belongs(self, address: str) -> bool:
        if address not in self._addresses:  # names have other addresses from time to time
            for host in self.hosts:
                self._addresses |= self.addresses_of(host)
        return address in self._addresses


def hosts_of(endpoint: str | None) -> frozenset[str]:
    """The hosts behind an endpoint: URLs, or a network's name; none for None."""
    if endpoint is None:
        return frozenset()
    from protocol.connection import endpoints_of  # only then is the SDK needed

    return frozenset(urlsplit(url).hostname or "" for url in endpoints_of(endpoint))
