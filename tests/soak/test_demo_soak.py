"""The whole demo as its user runs it: every process real, cheats and all."""

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

pytestmark = pytest.mark.soak

_DEMO = [sys.executable, "-m", "scripts.devnet.demo"]
_START_SECONDS = 400


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


def _rows(shown: str) -> dict[str, str]:
    """The miners' table, one text per miner, its folded cells joined."""
    rows: dict[str, str] = {}
    name = ""
    for line in shown.splitlines():
        cells = [cell.strip() for cell in line.strip("│").split("│")]
        if line.startswith("│") and len(cells) == 6:
            name = cells[0] if cells[0] in {"ada", "ben", "cleo", "dan", "eve"} else name
            rows[name] = rows.get(name, "") + " " + " ".join(cells[1:])
    return rows


def _weight(row: str) -> float:
    return float(re.findall(r"(\d+\.\d+)%", row)[-1])


def test_the_demo_accepts_the_honest_and_finds_the_cheats(tmp_path: Path) -> None:
    command = [*_DEMO, "--once", "--data-dir", str(tmp_path)]

    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=_START_SECONDS,
        check=False,
        env={**os.environ, "COLUMNS": "140"},
    )

    assert done.returncode == 0, done.stdout + done.stderr
    rows = _rows(done.stdout)
    honest = [rows[name] for name in ("ada", "ben", "cleo")]
    assert all("accepted" in row and "outlier" not in row for row in honest)
    assert "energy_outlier" in rows["dan"]
    assert "below the cohort" in rows["dan"]
    assert "token_proof_failed" in rows["eve"]
    assert min(map(_weight, honest)) > _weight(rows["dan"]) > _weight(rows["eve"]) == 0
    assert "simulated" in done.stdout
    assert re.search(r"1(-\d+)? +│ SmolLM2", done.stdout)
    assert not _children(tmp_path)


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
