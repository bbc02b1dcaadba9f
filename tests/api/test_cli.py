"""The command line: a fresh machine serves, our faults are one line and a hint."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from api.catalogue import ZoneId
from api.grid.intensity import Reading
from api.store import Store
from api.tables import load_catalogue, with_fitted_shapes

ROOT = Path(__file__).parents[2]
WAIT_SECONDS = 60


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "api.cli", *arguments],
        env=_environment(environment),
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
        cwd=ROOT,
    )


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, **given}


def test_serve_answers_on_a_fresh_machine_and_stops_at_once(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "api.cli", "serve", "--port", "0", "--data-dir", str(tmp_path)],
        env=_environment({"API_REFRESH_SECONDS": "0.5"}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().removeprefix("CarbonBench API at ").strip()
        with urllib.request.urlopen(f"{url}/api/v1/leaderboard?limit=3") as answer:  # noqa: S310
            rows = json.load(answer)["rows"]
        with urllib.request.urlopen(f"{url}/readyz") as answer:  # noqa: S310
            ready = json.load(answer)
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=WAIT_SECONDS)

    assert len(rows) == 3
    assert ready["is_ready"]
    assert process.returncode == 0
    assert "Traceback" not in errors


def test_a_busy_port_is_one_line_and_a_hint(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ended = run("serve", "--port", port, "--data-dir", str(tmp_path))

    assert ended.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in ended.stderr
    assert "hint:" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"DATABASE_URL": "nonsense"}, "DATABASE_URL is not understood"),
        ({"DATABASE_URL": "postgresql://u:secret@127.0.0.1:1/x"}, "cannot open"),
        ({"API_DATA_DIR": "/dev/null/x"}, "cannot write to /dev/null/x"),
        ({"API_REFRESH_SECONDS": "0"}, "API_REFRESH_SECONDS"),
        ({"API_WORKERS": "65"}, "API_WORKERS"),
        ({"API_VALIDATOR_LOGS": "http://x"}, "validator_logs"),
        ({"API_VALIDATOR_LOGS": '["ftp://x"]'}, "API_VALIDATOR_LOGS"),
        ({"API_VALIDATOR_LOGS": '[{"url": "http://x", "typo": 1}]'}, "API_VALIDATOR_LOGS"),
    ],
)
def test_a_bad_setting_is_one_line_and_a_hint(
    tmp_path: Path, environment: dict[str, str], said: str
) -> None:
    ended = run("check", **{"API_DATA_DIR": str(tmp_path), **environment})

    assert ended.returncode == 1
    assert said in ended.stderr
    assert "hint:" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "secret" not in ended.stderr


def test_check_shows_the_settings_and_finds_typos(tmp_path: Path) -> None:
    ended = run("check", API_DATA_DIR=str(tmp_path), API_REFRESH_SECOND="5")

    assert ended.returncode == 0, ended.stderr
    assert "refresh_seconds = 300.0" in ended.stdout
    assert "unknown variable API_REFRESH_SECOND" in ended.stdout
    assert ended.stdout.endswith("ready\n")


def test_refresh_says_what_the_release_holds(tmp_path: Path) -> None:
    logs = '["http://127.0.0.1:1"]'
    ended = run("refresh", API_DATA_DIR=str(tmp_path), API_VALIDATOR_LOGS=logs)

    assert ended.returncode == 0, ended.stderr
    assert "rows" in ended.stdout
    assert "log http://127.0.0.1:1: unreachable" in ended.stdout


def test_a_fit_without_history_says_what_is_missing(tmp_path: Path) -> None:
    ended = run("grid", "fit", API_DATA_DIR=str(tmp_path))

    assert ended.returncode == 1
    assert "no zone has" in ended.stderr


def test_a_fit_to_own_history_is_used_from_then_on(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'api.sqlite3'}")
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=70)
    store.keep_readings([_reading(start + timedelta(hours=hour)) for hour in range(70 * 24)])
    store.close()

    ended = run("grid", "fit", API_DATA_DIR=str(tmp_path))

    assert ended.returncode == 0, ended.stderr
    assert "ZA: profile off by" in ended.stdout
    fitted = with_fitted_shapes(load_catalogue(), tmp_path / "grid_shape.csv")
    assert fitted.shapes[ZoneId("ZA")].coefficients[0] == pytest.approx(1.0, abs=0.05)
    assert fitted.content_digest != load_catalogue().content_digest


def _reading(start: datetime) -> Reading:
    return Reading(
        zone=ZoneId("ZA"),
        start=start,
        end=start + timedelta(hours=1),
        intensity_g_per_kwh=700.0 + start.hour,
        basis="lifecycle",
        signal="average",
        is_estimated=False,
        source="test",
        licence="CC0",
        is_redistributable=True,
    )
