"""Addresses that a miner may put on chain, and which of them are called."""

from ipaddress import IPv4Address

import pytest

from protocol.addresses import address_refusal
from protocol.chain import Axon
from protocol.errors import RejectionCode

HOSTILE = [
    "0.1.2.3", "0.255.255.255", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255",
    "127.0.0.1", "127.1.1.1", "127.255.255.254", "169.254.0.1", "169.254.169.254",
    "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.170", "192.0.2.1", "192.88.99.1.x",
    "192.168.0.1", "192.168.255.255", "198.18.0.1", "198.19.255.255", "198.51.100.1",
    "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::2", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:8.8.8.8",
    "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1", "100::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:2::1", "2001:10::1", "2001:db8::1", "2002:7f00:1::", "2002:a00:1::", "2002:808:808::",
    "3fff::1", "5f00::1", "fc00::1", "fd00::1", "fd00:ec2::254", "fdff:ffff::1", "fe80::1",
    "fe80::1%eth0", "feb0::1", "fec0::1", "ff01::1", "ff02::1", "ff0e::1",
    "localhost", "metadata.google.internal", "example.org", "", " ", "1.2.3", "1.2.3.4.5",
    "0x7f000001", "2130706433", "017700000001", "127.1", "1.2.3.4/24", "1.2.3.4:80",
    "[::1]", "1.2.3.4\n", "\uff11.2.3.4",
]  # fmt: skip
PUBLIC = ["8.8.8.8", "1.1.1.1", "193.0.6.139", "2606:4700:4700::1111", "2a00:1450:4001::1"]


@pytest.mark.parametrize("ip", [str(IPv4Address(0)), *HOSTILE])
def test_a_hostile_address_is_refused(ip: str) -> None:
    refusal = address_refusal(Axon(ip=ip, port=8091), allow_private=False)

    assert refusal is not None
    assert refusal.code is RejectionCode.ADDRESS_REFUSED


@pytest.mark.parametrize("ip", PUBLIC)
def test_a_public_address_is_called(ip: str) -> None:
    assert address_refusal(Axon(ip=ip, port=8091), allow_private=False) is None


@pytest.mark.parametrize("port", [-1, 0, 65_536])
def test_what_is_no_port_is_refused(port: int) -> None:
    assert address_refusal(Axon(ip="8.8.8.8", port=port), allow_private=False) is not None


@pytest.mark.parametrize("ip", ["127.0.0.1", "10.0.0.1", "192.168.1.7", "fd00::1"])
def test_the_devnet_calls_private_addresses(ip: str) -> None:
    assert address_refusal(Axon(ip=ip, port=8091), allow_private=True) is None


@pytest.mark.parametrize(
    "ip", [str(IPv4Address(0)), "224.0.0.1", "255.255.255.255", "::", "localhost"]
)
def test_even_the_devnet_calls_no_broadcast_and_no_names(ip: str) -> None:
    assert address_refusal(Axon(ip=ip, port=8091), allow_private=True) is not None
