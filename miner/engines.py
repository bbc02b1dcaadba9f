"""Which engine runs the workload: the one place that knows them all."""

from collections.abc import Callable, Sequence
from typing import Literal

from miner.engine import PromptEngine, TransformersEngine
from miner.holdings import HeldModel
from miner.vllm_engine import VllmEngine
from protocol.generation import cuda_uuids
from protocol.workload import Workload

EngineName = Literal["transformers", "vllm"]
"""An engine's name: in settings, and as the value of cells."""


def build_engine(
    name: EngineName,
    *,
    held: Sequence[HeldModel],
    prompts: Callable[[Workload], Sequence[str]],
    device: str,
    threads: int | None = None,
    sketch: bool = False,
) -> PromptEngine:
    """The engine of that name over some models.

    Args:
        name: Which one.
        held: The models on disk.
        prompts: The texts of a workload, in order.
        device: Torch device, as `miner.engine.choose_device` gives it.
        threads: CPU threads; None leaves torch's setting. vllm has its own way.
        sketch: Whether tagged runs also sketch the hidden states; vllm does not show them.

    Raises:
        ConfigurationError: If the engine is not installed, or can't run on the device.
    """
    if name == "vllm":
        return VllmEngine(held=held, prompts=prompts, device=device, gpu_count=len(cuda_uuids()))
    return TransformersEngine(
        held=held, prompts=prompts, device=device, threads=threads, sketch=sketch
    )
