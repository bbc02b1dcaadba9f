"""One run of the workload for this machine's own eyes: `carbonbench-miner measure`.

Chooses what meters the run: NVML where a GPU does the work, else an estimate of the host. A run
whose energy is refused still has its tokens and times; the refusal stands where the energy
would.
"""

import importlib.metadata
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from miner.clock_watch import steady_clock
from miner.devices import DeviceFacts
from miner.engine import choose_device, choose_dtype
from miner.engines import EngineName, build_engine
from miner.estimate import EstimateMeter
from miner.holdings import hold
from miner.measurement import Measurement
from miner.meter import NvmlMeter, open_meter
from miner.ports import Meter, Stamp, Watch
from miner.refusals import NoDevicesError, NvmlMissingError, PynvmlShadowedError
from miner.reporting import PromptRun, Task
from miner.room import available_bytes, refuse_too_small, refuse_wrong_spread
from miner.run_reporting import FinishedRun, Host, build_run_report
from miner.warm_up import LONGEST_SECONDS, WarmUp
from protocol.errors import ConfigurationError, MeasurementError, WorkloadError
from protocol.generation import cuda_uuids, gpu_free_bytes
from protocol.model_files import cache_dir, resolve_model
from protocol.models import CATALOGUE, size_class_of
from protocol.prompt_sources import load_prompts
from protocol.prompts import AIES_PROMPT_COUNT
from protocol.run_report import RunReport
from protocol.units import microseconds, milliseconds, seconds
from protocol.weight_files import parameter_count
from protocol.workload import (
    SMOKE_WORKLOAD_NAME,
    WORKLOAD_NAME,
    PromptSet,
    Workload,
    WorkloadForm,
)

T = TypeVar("T")

LOCAL_SEED = b"carbonbench/local"
"""Seed of the tags of a local run: always the same, so that equal runs give equal tokens."""

_DISTRIBUTIONS = ("carbonbench", "torch", "transformers", "vllm")
_NO_GPU = (NvmlMissingError, NoDevicesError, PynvmlShadowedError)
_SETS = {
    "aies": PromptSet.AI_ENERGY_SCORE,
    "standin": PromptSet.STANDIN,
    "standin-short": PromptSet.STANDIN_SHORT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the operator asks for."""

    model: str
    prompts: int
    prompt_set: str
    """`auto`, a key of the known sets, or the path of a file with the public texts."""
    form: Literal["plain", "tagged"]
    device: str
    dtype: Literal["auto", "float32", "bfloat16", "float16"]
    threads: int | None
    gpus: tuple[int, ...] | None
    engine: EngineName = "transformers"
    batch_size: int = 1
    phases: bool = False
    """Whether to run a prefill pass after the run, in a window of its own."""
    warm_up_seconds: float | None = None
    """Longest wait for a steady GPU; None for a minute where a GPU does the work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """The prompts of a run."""

    prompt_set: PromptSet
    texts: tuple[str, ...]


def choose_texts(prompt_set: str, count: int) -> Texts:
    """The prompts that are asked for.

    Raises:
        WorkloadError: If the public texts are not on this machine, or are others. A shortened
            run of `auto` takes stand-ins then; a whole one never does.
    """
    if prompt_set in _SETS:
        chosen = _SETS[prompt_set]
        return Texts(prompt_set=chosen, texts=load_prompts(chosen, count))
    public = PromptSet.AI_ENERGY_SCORE
    if prompt_set != "auto":
        file = Path(prompt_set).expanduser()
        return Texts(prompt_set=public, texts=load_prompts(public, count, file=file))
    try:
        return Texts(prompt_set=public, texts=load_prompts(public, count))
    except WorkloadError:
        if count >= AIES_PROMPT_COUNT:
            raise
        standin = PromptSet.STANDIN
        return Texts(prompt_set=standin, texts=load_prompts(standin, count))


def local_workload(
    prompt_set: PromptSet, count: int, form: str, *, batch_size: int = 1
) -> Workload:
    """The workload of a local run; anything but the whole public set has the smoke name.

    Raises:
        ConfigurationError: If the batch size is not positive.
    """
    if batch_size < 1:
        raise ConfigurationError(f"a batch needs at least one prompt, not {batch_size}")
    whole = prompt_set is PromptSet.AI_ENERGY_SCORE and count == AIES_PROMPT_COUNT
    return Workload(
        name=WORKLOAD_NAME if whole else SMOKE_WORKLOAD_NAME,
        form=WorkloadForm(form),
        prompts=prompt_set,
        prompt_count=count,
        batch_size=batch_size,
    )


class LocalRun:
    """A run that is ready to start.

    Raises:
        WorkloadError: If model or prompts are not there or not right, or memory is too small.
        ConfigurationError: If the engine can't run as asked.
    """

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self.prefill_refusal: MeasurementError | None = None
        """Why the prefill pass gave no energy, if it was asked for and gave none."""
        self.warm_up: WarmUp | None = None
        """How the GPU's warm-up ended; None when there was none."""
        chosen = choose_texts(wanted.prompt_set, wanted.prompts)
        workload = local_workload(
            chosen.prompt_set, wanted.prompts, wanted.form, batch_size=wanted.batch_size
        )
        self._device = choose_device(wanted.device)
        dtype = choose_dtype(wanted.dtype, self._device)
        held = hold(resolve_model(wanted.model, cache_dir() / "models"), dtype)
        self.parameters = _parameters(held.ref.id, held.folder)
        refuse_wrong_spread(size_class_of(self.parameters), self._device, len(cuda_uuids()))
        refuse_too_small(
            self.parameters,
            dtype,
            available_bytes=available_bytes(self._device, gpu_free_bytes()),
            where="the GPU" if self._on_gpu else "this machine",
        )
        self.task = Task(model=held.ref, workload=workload, seed=LOCAL_SEED)
        self._engine = build_engine(
            wanted.engine,
            held=[held],
            prompts=lambda _workload: chosen.texts,
            device=self._device,
            threads=wanted.threads,
        )

    def prepare(self, watch: Watch) -> None:
        """Load the model and warm it up."""
        self._engine.prepare(self.task, watch)

    def run(self, watch: Watch, watch_prefill: Watch | None = None) -> RunReport:
        """The measured run, and the prefill pass if it was asked for; unsigned.

        Args:
            watch: Called after each batch of the run.
            watch_prefill: Called after each batch of the prefill pass; by default `watch`.
        """
        with self._meter() as (meter, gpus):
            self.warm_up = self._warmed_up(meter, watch)
            runs, measured = self._measured(meter, watch)
            prefill = None
            if self._wanted.phases and isinstance(measured, Measurement):
                prefill = self._prefill(meter, runs, watch_prefill or watch)
        return build_run_report(
            FinishedRun(
                task=self.task,
                parameters=self.parameters,
                host=self._host(gpus),
                runs=runs,
                measured=measured,
                prefill=prefill,
                finished_unix_ms=int(milliseconds(seconds(time.time_ns()))),
            )
        )

    def _warmed_up(self, meter: Meter[Measurement], watch: Watch) -> WarmUp | None:
        """Repeat the warm-up answers until power and temperature of the GPU stand still."""
        longest_seconds = self._wanted.warm_up_seconds
        if longest_seconds is None:
            longest_seconds = LONGEST_SECONDS if self._on_gpu else 0.0
        if not isinstance(meter, NvmlMeter) or longest_seconds == 0.0:
            return None
        return meter.warm_up(
            lambda: self._engine.prepare(self.task, watch), longest_seconds=longest_seconds
        )

    def _measured(
        self, meter: Meter[Measurement], watch: Watch
    ) -> tuple[tuple[PromptRun, ...], Measurement | MeasurementError]:
        finished: list[tuple[PromptRun, ...]] = []

        def work(stamp: Stamp) -> tuple[PromptRun, ...]:
            finished.append(self._engine.run(self.task, stamp, watch))
            return finished[0]

        try:
            with steady_clock():
                return meter.measure(work, self._engine.synchronise)
        except MeasurementError as error:
            if not finished:
                work(_clock())
            return finished[0], error

    def _prefill(
        self, meter: Meter[Measurement], runs: tuple[PromptRun, ...], watch: Watch
    ) -> Measurement | None:
        inputs = [run.input_ids for run in runs]
        try:
            with steady_clock():
                _, measured = meter.measure(
                    lambda _stamp: self._engine.prefill(self.task, inputs, watch),
                    self._engine.synchronise,
                )
        except MeasurementError as error:
            self.prefill_refusal = error
            return None
        return measured

    @contextmanager
    def _meter(self) -> Iterator[tuple[Meter[Measurement], tuple[DeviceFacts, ...]]]:
        """What meters this run, and the GPUs that it reads."""
        with ExitStack() as stack:
            try:
                nvml = stack.enter_context(open_meter(self._wanted.gpus))
                nvml.refuse_unless_same_devices(cuda_uuids() if self._on_gpu else ())
            except MeasurementError as error:
                absent = isinstance(error, _NO_GPU) and not self._on_gpu
                yield (EstimateMeter() if absent else RefusedMeter(error)), ()
                return
            if self._on_gpu or nvml.is_simulated:
                yield nvml, nvml.devices
            else:
                yield EstimateMeter(), ()  # the GPU is there, and the work is not on it

    @property
    def _on_gpu(self) -> bool:
        return self._device != "cpu"

    def _host(self, gpus: tuple[DeviceFacts, ...]) -> Host:
        return Host(
            engine=self._engine.name,
            device=self._device,
            gpus=gpus,
            platform=f"{platform.system()}-{platform.machine()}",
            versions={"python": platform.python_version(), **_versions()},
        )


def _versions() -> dict[str, str]:
    found = {}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # vllm is optional
    return found


def _parameters(model_id: str, folder: Path) -> int:
    """The catalogue's number of parameters, else what the files hold."""
    known = [model.parameters for model in CATALOGUE if model.id == model_id]
    return known[0] if known else parameter_count(folder)


class RefusedMeter:
    """Runs the work without a meter, then says why there was none.

    Args:
        refusal: Why.
    """

    def __init__(self, refusal: MeasurementError) -> None:
        self._refusal = refusal

    def measure(
        self, work: Callable[[Stamp], T], synchronise: Callable[[], None]
    ) -> tuple[T, Measurement]:
        """Run the work.

        Raises:
            MeasurementError: Always, afterwards.
        """
        work(_clock())
        synchronise()
        raise self._refusal


def _clock() -> Stamp:
    """Stamps without an energy counter."""
    start_ns = time.monotonic_ns()
    return lambda: (microseconds(time.monotonic_ns() - start_ns), None)
