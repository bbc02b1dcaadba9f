"""What `tests/conftest.py` promises: no network, no home folder, nothing skipped in silence."""

import asyncio
import os
import socket
import tempfile
from pathlib import Path

import httpx
import pytest

from tests.conftest import BlockedNetworkError, pytest_runtest_makereport
from tests.support.needs import MISSING
from tests.support.network_guard import NetworkGuard, hosts_of

# RFC 5737: an address that belongs to nobody.
NOWHERE = "192.0.2.1"


def skipped_report(reason: str) -> pytest.TestReport:
    return pytest.TestReport(
        nodeid="tests/test_example.py::test_example",
        location=("tests/test_example.py", 1, "test_example"),
        keywords={},
        outcome="skipped",
        longrepr=("tests/test_example.py", 1, f"Skipped: {reason}"),
        when="call",
    )


def judged(report: pytest.TestReport) -> pytest.TestReport:
    """The report as the hook leaves it."""
    hook = pytest_runtest_makereport()
    next(hook)
    try:
        hook.send(report)
    except StopIteration as end:
        result: pytest.TestReport = end.value
        return result
    raise AssertionError("the hook yields once")


def test_a_connection_to_another_machine_is_refused() -> None:
    with pytest.raises(BlockedNetworkError, match=NOWHERE):
        socket.create_connection((NOWHERE, 80), timeout=1)


def test_a_datagram_to_another_machine_is_refused() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        pytest.raises(BlockedNetworkError),
    ):
        sender.sendto(b"hello", (NOWHERE, 53))


def test_a_name_is_not_looked_up() -> None:
    with pytest.raises(BlockedNetworkError, match=r"example\.org"):
        socket.getaddrinfo("example.org", 80)


async def test_asynchronous_connections_are_refused_too() -> None:
    with pytest.raises(BlockedNetworkError):
        await asyncio.open_connection(NOWHERE, 80)


def test_an_http_client_does_not_swallow_the_refusal() -> None:
    with httpx.Client() as client, pytest.raises(BlockedNetworkError):
        client.get(f"http://{NOWHERE}/")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_loopback_stays_open(host: str) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection((host, server.getsockname()[1]), timeout=5) as client,
    ):
        assert client.getpeername()[0] == "127.0.0.1"


def test_a_named_endpoint_opens_its_own_host_only() -> None:
    hosts = hosts_of("wss://node.example:9944,ws://198.51.100.7:9944")
    named = NetworkGuard(frozenset({"node.example"}), addresses_of=lambda _: {"203.0.113.5"})

    assert hosts == {"node.example", "198.51.100.7"}
    assert all(named.allows(host) for host in ("node.example", "203.0.113.5", "127.0.0.1", "::1"))
    assert not any(
        named.allows(host)
        for host in ("other.example", "example", "203.0.113.6", NOWHERE, "2001:db8::6")
    )


def test_an_address_that_a_name_gets_later_is_open_too() -> None:
    answers = iter([{"203.0.113.5"}, {"203.0.113.9"}])
    guard = NetworkGuard(frozenset({"node.example"}), addresses_of=lambda _: next(answers))

    assert guard.allows("203.0.113.5")
    assert guard.allows("203.0.113.9")


def test_no_endpoint_opens_nothing() -> None:
    guard = NetworkGuard(hosts_of(None), addresses_of=lambda _: {NOWHERE})

    assert not guard.allows(NOWHERE)
    assert guard.allows("localhost")


def test_the_name_of_a_network_opens_its_nodes() -> None:
    hosts = hosts_of("test")

    assert hosts
    assert all("." in host for host in hosts)


def test_the_home_folder_is_a_temporary_one() -> None:
    assert Path.home().is_relative_to(tempfile.gettempdir())
    assert Path("~/.bittensor").expanduser().is_relative_to(Path.home())


@pytest.mark.parametrize("prefix", ["MINER_", "VALIDATOR_", "API_", "DATABASE_URL"])
def test_no_setting_of_the_user_leaks_in(prefix: str) -> None:
    assert not [name for name in os.environ if name.startswith(prefix)]


def test_a_missing_thing_fails_where_nothing_may_be_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CARBONBENCH_REQUIRE_ALL", "1")

    report = judged(skipped_report(MISSING + "a database"))

    assert report.failed
    assert "a database" in str(report.longrepr)


def test_a_missing_thing_is_skipped_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CARBONBENCH_REQUIRE_ALL", raising=False)

    assert judged(skipped_report(MISSING + "a database")).skipped


def test_hardware_that_nobody_can_install_is_skipped_everywhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CARBONBENCH_REQUIRE_ALL", "1")

    assert judged(skipped_report("no NVIDIA GPU")).skipped
