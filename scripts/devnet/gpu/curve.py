"""Power over time as a piecewise linear curve with its exact integral."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from protocol.units import Joules, Seconds, Watts
from scripts.devnet.gpu.config import Segment


@dataclass(frozen=True, slots=True, kw_only=True)
class _Knot:
    """Start of a linear stretch, with the energy drawn since time zero."""

    at_seconds: float
    energy_joules: float
    power_watts: float
    slope_watts_per_second: float

    def energy_at(self, at_seconds: float) -> float:
        elapsed = at_seconds - self.at_seconds
        return (
            self.energy_joules
            + self.power_watts * elapsed
            + self.slope_watts_per_second * elapsed * elapsed / 2
        )

    def power_at(self, at_seconds: float) -> float:
        return self.power_watts + self.slope_watts_per_second * (at_seconds - self.at_seconds)


class PowerCurve:
    """Idle power, and on top the segments that were played; idle before and after.

    Args:
        idle: Power outside all segments (W).
    """

    def __init__(self, idle: Watts) -> None:
        self._idle = idle
        self._knots = [
            _Knot(at_seconds=0.0, energy_joules=0.0, power_watts=idle, slope_watts_per_second=0.0)
        ]
        self._starts = [0.0]

    @property
    def end(self) -> Seconds:
        """When the curve goes idle for good."""
        return Seconds(self._starts[-1])

    def play(self, segments: Iterable[Segment], *, at: Seconds) -> None:
        """Play segments from a time on, in place of whatever was planned after it.

        Raises:
            ValueError: If the time is before zero.
        """
        if at < 0:
            raise ValueError(f"a curve starts at 0 s, got {at}")
        start: float = at
        energy: float = self.energy(at)
        self._cut(at)
        for segment in segments:
            slope = (segment.end_watts - segment.start_watts) / segment.duration_seconds
            knot = _Knot(
                at_seconds=start,
                energy_joules=energy,
                power_watts=segment.start_watts,
                slope_watts_per_second=slope,
            )
            self._add(knot)
            start += segment.duration_seconds
            energy = knot.energy_at(start)
        self._add(
            _Knot(
                at_seconds=start,
                energy_joules=energy,
                power_watts=self._idle,
                slope_watts_per_second=0.0,
            )
        )

    def energy(self, at: Seconds) -> Joules:
        """Energy drawn between time zero and `at`, exactly."""
        return Joules(self._knot(at).energy_at(at))

    def power(self, at: Seconds) -> Watts:
        """Power at one instant."""
        return Watts(self._knot(at).power_at(at))

    def _cut(self, at: float) -> None:
        keep = bisect_right(self._starts, at)
        if keep and self._starts[keep - 1] == at:
            keep -= 1
        del self._knots[keep:], self._starts[keep:]

    def _add(self, knot: _Knot) -> None:
        self._knots.append(knot)
        self._starts.append(knot.at_seconds)

    def _knot(self, at: float) -> _Knot:
        return self._knots[max(0, bisect_right(self._starts, at) - 1)]
