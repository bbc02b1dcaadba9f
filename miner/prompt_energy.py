"""The energy of each prompt of a run, read off the counter's own changes. Pure.

The counter moves in ticks of some 100 ms, so a reading taken right at a prompt's edge is up to a
tick old. Between two changes the energy is taken to rise evenly; that spreads a tick over the
prompts that share it and loses nothing in sum.
"""

from bisect import bisect_right
from collections.abc import Sequence

from protocol.messages import CounterTrace
from protocol.run_report import RunReport
from protocol.units import Joules, joules

_MINIMUM_CHANGES = 2


def prompt_energies(report: RunReport) -> tuple[Joules, ...] | None:
    """Energy of each span between answers, summed over devices; None without a counter.

    The prompts of one batch share a span, and each gets an equal part of it.
    """
    traces = [part.counter for part in report.device_energy]
    if not traces or any(len(trace.elapsed_us) < _MINIMUM_CHANGES for trace in traces):
        return None
    spans = [(record.start_us, record.end_us) for record in report.prompts]
    shares = {span: spans.count(span) for span in set(spans)}
    return tuple(
        Joules(joules(_between(traces, start, end)) / shares[start, end]) for start, end in spans
    )


def _between(traces: Sequence[CounterTrace], start_us: int, end_us: int) -> float:
    return sum(_counter_at(trace, end_us) - _counter_at(trace, start_us) for trace in traces)


def _counter_at(trace: CounterTrace, at_us: int) -> float:
    """The counter at a time (mJ), even between two changes and beyond the first and the last."""
    times, energies = trace.elapsed_us, trace.energy_mj
    after = min(max(bisect_right(times, at_us), 1), len(times) - 1)
    before = after - 1
    gap_us = times[after] - times[before]
    share = (at_us - times[before]) / gap_us if gap_us else 0.0
    return energies[before] + share * (energies[after] - energies[before])
