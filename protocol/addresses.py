"""Which axons may be called. What others write on chain is an attacker's to choose. Pure."""

import ipaddress

from protocol.chain import Axon
from protocol.errors import Rejection, RejectionCode

_PORT_MAX = 65_535
_UNICAST_V6 = ipaddress.IPv6Network("2000::/3")
"""All that is given out for global use (RFC 4291, section 2.4)."""
_DOCUMENTATION_V6 = ipaddress.IPv6Network("3fff::/20")
"""RFC 9637; newer than Python 3.11's registry."""
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""Leads to any IPv4 address, private ones too (RFC 6052)."""


def address_refusal(axon: Axon, *, allow_private: bool) -> Rejection | None:
    """Why an axon is not called; None if it may be.

    Only unicast addresses that are reachable from everywhere pass (IANA special-purpose
    registries, as `ipaddress.is_global` knows them), so that no miner can make a validator
    talk to its own network, its host's metadata service or itself.

    Args:
        axon: Address and port as announced; names are no addresses.
        allow_private: Whether loopback and private addresses pass: on the devnet.
    """
    try:
        address = ipaddress.ip_address(axon.ip)
    except ValueError:
        return _refused(f"{axon.ip!r} is no IP address")
    fault = _fault(address, allow_private=allow_private)
    if fault is None and not 0 < axon.port <= _PORT_MAX:
        fault = f"{axon.port} is no port"
    return _refused(fault) if fault else None


def _fault(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, *, allow_private: bool
) -> str | None:
    embedded = _embedded(address)
    if embedded is not None:
        return f"{address} hides {embedded}"
    if address.is_multicast or address.is_unspecified or address.is_reserved:
        return f"{address} is no unicast address"
    if _is_public(address) or (allow_private and address.is_private):
        return None
    return f"{address} is not reachable from everywhere"


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and (
        address not in _UNICAST_V6 or address in _DOCUMENTATION_V6
    ):
        return False
    return address.is_global


def _embedded(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> object | None:
    """The IPv4 address that an IPv6 one stands for; such addresses are never called."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address.teredo


def _refused(detail: str) -> Rejection:
    return Rejection(code=RejectionCode.ADDRESS_REFUSED, detail=detail)
