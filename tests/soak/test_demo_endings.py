"""However the demo ends, it leaves no process and no port behind."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.model import need_smollm2

pytestmark = [pytest.mark.soak, pytest.mark.timeout(800)]

_DEMO = [sys.executable, "-m", "scripts.devnet.demo"]


@pytest.fixture(autouse=True, scope="module")
def model() -> Path:
    """The demo's model, fetched before any time is counted."""
    return need_smollm2()


def _children(folder: Path) -> list[int]:
    """Processes that work in a demo's folder."""
    found = []
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if process.name.isdigit() and str(folder) in str((process / "cwd").readlink()):
                found.append(int(process.name))
    return found


@contextlib.contextmanager
def _serving_demo(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A demo that has shown its tables and goes on serving; the URL of its API."""
    command = [*_DEMO, "--rounds", "1", "--data-dir", str(folder)]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "COLUMNS": "140"},
    ) as demo:
        try:
            yield demo, _announced_url(demo)
        finally:
            demo.kill()


def _announced_url(demo: subprocess.Popen[str]) -> str:
    for line in demo.stdout or ():
        found = re.search(r"serving (http://\S+) until Ctrl-C", line)
        if found:
            return found[1]
    raise AssertionError("the demo ended before it served")


def test_ctrl_c_leaves_no_process_and_no_port_behind(tmp_path: Path) -> None:
    with _serving_demo(tmp_path) as (demo, url):
        assert httpx.get(f"{url}/healthz", trust_env=False).status_code == httpx.codes.OK
        assert len(_children(tmp_path)) == 8

        demo.send_signal(signal.SIGINT)
        demo.wait(timeout=60)

        assert demo.returncode == 130
    assert not _children(tmp_path)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/healthz", trust_env=False)


def test_a_killed_demo_leaves_nothing_behind_and_the_next_one_starts(tmp_path: Path) -> None:
    with _serving_demo(tmp_path) as (demo, _):
        demo.kill()
        demo.wait(timeout=10)

        deadline = time.monotonic() + 30
        while _children(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not _children(tmp_path)
    with _serving_demo(tmp_path) as (_, url):
        assert httpx.get(f"{url}/healthz", trust_env=False).status_code == httpx.codes.OK
