"""codecarbon: an estimate of the host's energy where there is no GPU, and a second witness.

codecarbon takes CPU energy from RAPL where that is readable, else from load and nameplate
power, and memory from a model. What comes out is labelled `estimate` all the way; when
codecarbon gives nothing, there is a refusal and no number. On a GPU machine it may meter the
same GPUs beside the meter; what it says never changes the meter's figure.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib.metadata import version
from io import StringIO
from math import isfinite
from typing import Any, TypeVar

from miner.measurement import Flag, Measurement, Method
from miner.refusals import EstimateFailedError
from protocol.units import (
    Joules,
    Seconds,
    joules_from_wh,
    microseconds,
    seconds,
    watt_hours_from_kwh,
)

T = TypeVar("T")

ESTIMATE_SYSTEMATIC_PPM = 500_000
"""Uncertainty of load times nameplate power: 50 %, an assumption."""
_POLL_SECONDS = 1
_MINIMUM_SECONDS = Seconds(1.0)
"""Shorter windows hold too few looks at the load."""


class EstimateWindow:
    """An open window; `measurement` is there once its `with` block has ended."""

    def __init__(self) -> None:
        self.start_ns = time.monotonic_ns()
        self._measurement: Measurement | None = None

    @property
    def measurement(self) -> Measurement:
        """The window's estimate.

        Raises:
            EstimateFailedError: If the window was not closed.
        """
        if self._measurement is None:
            raise EstimateFailedError("this window was not closed")
        return self._measurement

    def stamp(self) -> tuple[int, int | None]:
        """(microseconds since the window opened, None): an estimate has no counter."""
        return microseconds(time.monotonic_ns() - self.start_ns), None

    def conclude(self, energy: Joules, end_ns: int) -> None:
        """Set the result."""
        self._measurement = Measurement(
            start_ns=self.start_ns,
            end_ns=end_ns,
            method=Method.ESTIMATE,
            energy=energy,
            deviation=Joules(0.0),  # the systematic part is all that can be said
            half_width=Joules(0.0),
            systematic_ppm=ESTIMATE_SYSTEMATIC_PPM,
            devices=(),
            flags=(Flag.ESTIMATED,),
        )


class EstimateMeter:
    """Estimates the energy of this machine's CPU and memory.

    Args:
        country_iso_code: Three letters; codecarbon asks for it, the energy does not depend on it.
    """

    def __init__(self, country_iso_code: str = "USA") -> None:
        self._country_iso_code = country_iso_code

    @contextmanager
    def window(self, *, synchronise: Callable[[], None] = lambda: None) -> Iterator[EstimateWindow]:
        """A window around the `with` block; its `measurement` is there afterwards.

        Raises:
            EstimateFailedError: If codecarbon is missing, fails, or gives no energy.
        """
        tracker = _tracker(self._country_iso_code, gpu_ids=())
        tracker.start()
        synchronise()
        window = EstimateWindow()
        try:
            yield window
            synchronise()
            end_ns = time.monotonic_ns()
        finally:
            tracker.stop()
        window.conclude(_energy(tracker, window.start_ns, end_ns), end_ns)

    def measure(
        self,
        work: Callable[[Callable[[], tuple[int, int | None]]], T],
        synchronise: Callable[[], None],
    ) -> tuple[T, Measurement]:
        """A piece of work and the estimate of its window.

        Args:
            work: Called with the window's `stamp`.
            synchronise: Waits until the device has finished all work.

        Raises:
            EstimateFailedError: If codecarbon is missing, fails, or gives no energy.
        """
        with self.window(synchronise=synchronise) as window:
            result = work(window.stamp)
        return result, window.measurement


class GpuWitness:
    """codecarbon on the same GPUs as the meter.

    It needs `nvidia-smi` on the path, and integer NVML indices: given UUIDs it sees no GPU.

    Args:
        indices: NVML indices of the metered GPUs.

    Raises:
        EstimateFailedError: If codecarbon does not load.
    """

    def __init__(self, indices: Sequence[int]) -> None:
        first = _tracker("USA", gpu_ids=indices)
        first.start()  # the first start looks for hardware for seconds: not within the window
        first.stop()
        self._tracker = _tracker("USA", gpu_ids=indices)

    @property
    def name(self) -> str:
        """Who it is, with version."""
        return f"codecarbon {version('codecarbon')}"

    def start(self) -> None:
        """Start counting."""
        self._tracker.start()

    def stop(self) -> Joules | None:
        """Stop counting; GPU energy, or None where codecarbon saw none."""
        self._tracker.stop()
        data = self._tracker.final_emissions_data
        energy_kwh = data.gpu_energy if data else 0.0
        if not isfinite(energy_kwh) or energy_kwh <= 0:
            return None
        return joules_from_wh(watt_hours_from_kwh(energy_kwh))


def _tracker(country_iso_code: str, *, gpu_ids: Sequence[int]) -> Any:  # noqa: ANN401 - codecarbon is untyped
    logging.getLogger("codecarbon").disabled = True  # it logs before it knows its level
    try:
        with redirect_stdout(StringIO()):  # amdsmi, if installed, prints where it looked
            from codecarbon import OfflineEmissionsTracker  # noqa: PLC0415 - heavy, optional
    except ImportError as error:
        raise EstimateFailedError(
            f"codecarbon does not load: {error}", hint="Run: pip install 'carbonbench[miner]'"
        ) from error
    return OfflineEmissionsTracker(
        country_iso_code=country_iso_code,
        measure_power_secs=_POLL_SECONDS,
        tracking_mode="machine",
        gpu_ids=list(gpu_ids),
        save_to_file=False,
        output_methods=[],
        allow_multiple_runs=True,
        log_level="critical",
    )


def _energy(tracker: Any, start_ns: int, end_ns: int) -> Joules:  # noqa: ANN401 - codecarbon is untyped
    """CPU and memory energy of a stopped tracker.

    Raises:
        EstimateFailedError: If there is none, or the window was too short for one.
    """
    if seconds(end_ns - start_ns) < _MINIMUM_SECONDS:
        raise EstimateFailedError("the window is shorter than 1 s")
    data = tracker.final_emissions_data
    energy_kwh = data.cpu_energy + data.ram_energy if data else 0.0
    if not isfinite(energy_kwh) or energy_kwh <= 0:
        raise EstimateFailedError("codecarbon gave no energy")
    return joules_from_wh(watt_hours_from_kwh(energy_kwh))
