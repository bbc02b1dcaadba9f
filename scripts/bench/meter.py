"""The meter beside zeus and codecarbon: error on the same curves, and CPU share.

Every scenario is a process of its own, as the anchors keep state. Processes get ready in
waves, three meters on three ticks at a time and mostly asleep, so that their start-up does not
disturb the windows of others. Within a scenario the three meters get the same curve, phases and
window lengths, and each is held to the truth between its own calls. All of it takes about eight
minutes; on a machine that does other work the figures say more about that work.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from pathlib import Path

from protocol.errors import ConfigurationError
from protocol.units import Seconds, milliseconds
from scripts.bench.entries import Entry, entry, labelled
from scripts.bench.meter_scenario import Outcome, Scenario

METERS = ("ours", "zeus", "codecarbon")
EDGES = ("idle", "busy")
TICKS_SECONDS = (0.1, 0.02, 0.01)
WAVES = (
    (30.0, 3, EDGES),
    (5.0, 6, EDGES),
    (1.0, 20, EDGES[:1]),
    (1.0, 20, EDGES[1:]),
    (0.2, 30, EDGES[:1]),
    (0.2, 30, EDGES[1:]),
)
"""(length in s, repeats, edges) of what runs at one time: short windows in small waves, as they
are the ones that a busy machine disturbs."""
_START_SECONDS = 120.0
_PATIENCE = 6.0


def run(share: float) -> list[Entry]:
    """All scenarios.

    Args:
        share: Share of the repetitions, at least one window each.

    Raises:
        ConfigurationError: If an anchor is not installed, or a scenario fails.
    """
    anchors = {name: _anchor(name) for name in METERS[1:]}
    outcomes: dict[Scenario, Outcome] = {}
    for window, repeats, kinds in WAVES:
        wave = [
            Scenario(
                meter=meter,
                edges=edges,
                tick_seconds=tick,
                window_seconds=window,
                repeats=max(1, round(repeats * share)),
                seed=round(window * 10),
            )
            for edges, tick, meter in product(kinds, TICKS_SECONDS, METERS)
        ]
        told = " and ".join(kinds)
        print(f"bench meter: {told} edges, windows of {window:g} s", file=sys.stderr)
        with _environment() as environment:
            outcomes |= zip(wave, _run_wave(wave, environment), strict=True)
    return list(_entries(outcomes, anchors))


def _entries(outcomes: dict[Scenario, Outcome], anchors: dict[str, str]) -> Iterator[Entry]:
    for scenario, ours in outcomes.items():
        if scenario.meter != "ours":
            continue
        for name, title in anchors.items():
            theirs = outcomes[scenario.model_copy(update={"meter": name})]
            labels: dict[str, str | float] = {
                "edges": scenario.edges,
                "tick_ms": milliseconds(Seconds(scenario.tick_seconds)),
                "window_s": scenario.window_seconds,
            }
            for kind, summary in (("mean", statistics.fmean), ("max", max)):
                yield entry(
                    labelled(f"meter_{kind}_error_pct", **labels),
                    summary(ours.errors_pct),
                    "%",
                    anchor=title,
                    anchor_value=summary(theirs.errors_pct),
                )
    yield from _cpu_entries(outcomes, anchors)


def _cpu_entries(outcomes: dict[Scenario, Outcome], anchors: dict[str, str]) -> Iterator[Entry]:
    """CPU share over the longest windows, where sampling is all that happens."""
    longest = max(window for window, _, _ in WAVES)
    shares = {
        meter: statistics.fmean(
            outcome.cpu_pct
            for scenario, outcome in outcomes.items()
            if scenario.meter == meter and scenario.window_seconds == longest
        )
        for meter in METERS
    }
    for name, title in anchors.items():
        yield entry(
            labelled("meter_cpu_pct", hz="10"),
            shares["ours"],
            "% of a core",
            anchor=title,
            anchor_value=shares[name],
        )


def _run_wave(scenarios: Sequence[Scenario], environment: dict[str, str]) -> list[Outcome]:
    processes: list[subprocess.Popen[str]] = []
    try:
        for scenario in scenarios:
            processes.append(_start(scenario, environment))
        for process, scenario in zip(processes, scenarios, strict=True):
            _await_ready(process, scenario)
        for process in processes:
            _go(process)
        return [_finish(*pair) for pair in zip(processes, scenarios, strict=True)]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _start(scenario: Scenario, environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "scripts.bench.meter_scenario", scenario.model_dump_json()],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _go(process: subprocess.Popen[str]) -> None:
    if process.stdin:
        process.stdin.write("go\n")
        process.stdin.flush()


def _await_ready(process: subprocess.Popen[str], scenario: Scenario) -> None:
    """Read up to the line `ready`; the anchors may print before it."""
    for line in process.stdout or ():
        if line.strip() == "ready":
            return
    raise _failed(process, scenario)


def _finish(process: subprocess.Popen[str], scenario: Scenario) -> Outcome:
    limit = _START_SECONDS + _PATIENCE * scenario.repeats * (scenario.window_seconds + 1)
    output, errors = process.communicate(timeout=limit)
    if process.returncode != 0:
        raise ConfigurationError(f"{scenario.meter} failed", hint=errors[-2000:])
    return Outcome.model_validate_json(output.splitlines()[-1])


def _failed(process: subprocess.Popen[str], scenario: Scenario) -> ConfigurationError:
    _, errors = process.communicate()
    return ConfigurationError(f"{scenario.meter} did not start", hint=errors[-2000:])


def _anchor(name: str) -> str:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError as error:
        raise ConfigurationError(
            f"{name} is not installed", hint="Run: pip install 'carbonbench[bench]'"
        ) from error


@contextmanager
def _environment() -> Iterator[dict[str, str]]:
    """Environment with a stand-in for nvidia-smi: codecarbon sees no GPU without one."""
    with tempfile.TemporaryDirectory(prefix="carbonbench-bench-") as folder:
        program = Path(folder) / "nvidia-smi"
        program.write_text("#!/bin/sh\nexit 0\n")
        program.chmod(0o755)
        path = os.pathsep.join((folder, os.environ.get("PATH", "")))
        yield dict(os.environ) | {"PATH": path, "OMP_NUM_THREADS": "1"}
