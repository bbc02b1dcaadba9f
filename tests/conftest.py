"""What holds for every test: no network but loopback, no home folder, no settings of the user.

The environment is set when this file is imported, before any test module is, so that
libraries which read it at import time see it too.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

import hypothesis
import pytest

from tests.support.needs import MISSING
from tests.support.network_guard import NetworkGuard, hosts_of

_HOME_VARIABLE = "CARBONBENCH_TEST_HOME"
_OWN_PREFIXES = ("MINER_", "VALIDATOR_", "API_", "BITTENSOR_", "BT_", "XDG_", "HF_")
_FIXED_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "OMP_NUM_THREADS": "1",
    # Idle threads of torch would spin on a busy core.
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "0",
    "TOKENIZERS_PARALLELISM": "false",
    "NO_COLOR": "1",
}
_NETWORK_EVENTS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})


class BlockedNetworkError(RuntimeError):
    """A test reached for an address other than loopback. No `OSError`, so no code swallows it."""


def _prepare_environment() -> None:
    for name in [name for name in os.environ if name.startswith(_OWN_PREFIXES)]:
        del os.environ[name]
    os.environ.pop("DATABASE_URL", None)
    os.environ.update(_FIXED_ENVIRONMENT)
    # pyenv's shims look for their root under the home folder, which is another one from here on.
    os.environ.setdefault("PYENV_ROOT", str(Path.home() / ".pyenv"))
    if _HOME_VARIABLE not in os.environ:
        os.environ[_HOME_VARIABLE] = tempfile.mkdtemp(prefix="carbonbench-test-home-")
    os.environ["HOME"] = os.environ[_HOME_VARIABLE]


def _refuse_network(event: str, arguments: tuple[object, ...]) -> None:
    """An audit hook (PEP 578): sees every socket of this process, whoever opened it."""
    if event in _NETWORK_EVENTS:
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else None
    elif event == "socket.getaddrinfo":
        host = arguments[0]
    else:
        return
    name = host.decode() if isinstance(host, bytes) else host
    if isinstance(name, str) and not _GUARD.allows(name):
        raise BlockedNetworkError(f"tests may not reach {name!r} ({event})")


_prepare_environment()
_GUARD = NetworkGuard(hosts_of(os.environ.get("CARBONBENCH_CHAIN_ENDPOINT")))
"""Loopback, and the chain node that an operator names for `test_any_chain`."""
sys.addaudithook(_refuse_network)
# No deadline: the machine may be busy. The same examples each time in continuous integration.
hypothesis.settings.register_profile(
    "carbonbench", deadline=None, derandomize=os.environ.get("CI") == "true"
)
hypothesis.settings.load_profile("carbonbench")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the home folder, in the process that made it."""
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ[_HOME_VARIABLE], ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail tests that were skipped for want of something, where nothing may be missing."""
    report = yield
    _refuse_missing(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for whole modules."""
    report = yield
    _refuse_missing(report)
    return report


def _refuse_missing(report: pytest.TestReport | pytest.CollectReport) -> None:
    if os.environ.get("CARBONBENCH_REQUIRE_ALL") != "1" or not report.skipped:
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
    if reason.removeprefix("Skipped: ").startswith(MISSING):
        report.outcome = "failed"
        report.longrepr = f"CARBONBENCH_REQUIRE_ALL=1, and this was skipped: {reason}"
