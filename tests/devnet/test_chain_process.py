"""The node as a program."""

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from protocol.wallet import HotkeySigner
from scripts.devnet.chain.__main__ import parse
from tests.support.devnet import (
    READY_SECONDS,
)

COMMAND = [sys.executable, "-m", "scripts.devnet.chain"]
NEURONS = ["--neuron", "//Validator,//Owner,5000,permit", "--neuron", "//Miner,//Owner"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    ready = tmp_path / "chain.json"
    command = [*COMMAND, "--port", "0", "--ready-file", str(ready), "--block-seconds", "0.1"]
    with Popen(command, stdout=PIPE, stderr=PIPE, text=True) as node:
        assert node.stdout is not None
        told = json.loads(node.stdout.readline())
        port = int(told["endpoint"].rsplit(":", 1)[1])
        _wait_for(ready)
        assert json.loads(ready.read_text()) == told
        with socket.create_connection(("127.0.0.1", port)):
            node.send_signal(number)
            _, errors = node.communicate(timeout=READY_SECONDS)

    assert (node.returncode, errors) == (0, "")
    assert list(tmp_path.iterdir()) == []
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_busy_port_is_one_clear_line(tmp_path: Path) -> None:
    ready = tmp_path / "chain.json"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [*COMMAND, "--port", port, "--ready-file", str(ready)],
            capture_output=True,
            text=True,
            check=False,
        )

    assert done.returncode == 1
    assert done.stderr == f"error: cannot serve on 127.0.0.1:{port}: Address already in use\n"
    assert not ready.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--neuron", "//Alice"],
        ["--neuron", "a,b,c,d,e"],
        ["--neuron", "//Alice,//Bob,much"],
        ["--set", "Speed=1"],
        ["--set", "Tempo=fast"],
        ["--neuron", "//Alice,not-an-address"],
        ["--seed", "abc"],
        ["--port", "x"],
        ["--block-seconds", "-1"],
    ],
)
def test_a_wrong_argument_is_a_usage_error(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(arguments)

    assert caught.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_arguments_make_the_genesis(tmp_path: Path) -> None:
    options = parse([*NEURONS, "--set", "Tempo=7", "--owner", HotkeySigner.from_uri("//X").hotkey])

    assert options.neuron[0][2:] == (5_000, True)
    assert options.neuron[1][2:] == (0, False)
    assert options.set == [("Tempo", 7)]


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.01)
