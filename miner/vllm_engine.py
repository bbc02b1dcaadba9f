"""The vLLM engine: the same workload on vLLM, a cell value of its own. The one door to vllm.

Greedy, with the same end-of-sequence tokens masked, from the same token ids as transformers gets.
Prefix caching is off, or a tag's words would be paid for once. The engine core stays in this
process, so that NVML sees the GPU's memory as ours.

Written against the offline API of vLLM 0.9 to 0.16 (`LLM`, `SamplingParams`, `RequestOutput`) and
tested on a stand-in of that shape; it has not been run on a GPU yet.
"""

import importlib.util
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from miner.engine import PromptEngine
from miner.holdings import HeldModel
from protocol.errors import ConfigurationError, WorkloadError
from protocol.generation import TextEncoder, load_encoder
from protocol.workload import Workload

VLLM = "vllm"
"""The engine's name in cells."""
LENGTH_LIMIT = 32_768
"""Positions that vLLM reserves memory for at most; no public prompt is longer, and a longer one is
refused, never cut."""

_IN_PROCESS = ("VLLM_ENABLE_V1_MULTIPROCESSING", "0")


class VllmEngine(PromptEngine):
    """Runs the workload on vLLM.

    Args:
        held: The models on disk.
        prompts: The texts of a workload, in order.
        device: `cuda:0`, or `auto` for all visible GPUs (tensor parallel).
        gpu_count: GPUs that are visible.

    Raises:
        ConfigurationError: If vLLM is not installed, or the device is none that it can be given.
    """

    def __init__(
        self,
        *,
        held: Sequence[HeldModel],
        prompts: Callable[[Workload], Sequence[str]],
        device: str,
        gpu_count: int,
    ) -> None:
        if importlib.util.find_spec("vllm") is None:
            raise ConfigurationError(
                "vllm is not installed", hint="Run `pip install vllm`, or use transformers."
            )
        if device not in {"cuda:0", "auto"} or gpu_count < 1:
            raise ConfigurationError(
                f"vllm does not run on the device {device!r}",
                hint="It takes the first visible GPU, or all: choose with CUDA_VISIBLE_DEVICES.",
            )
        parallel = gpu_count if device == "auto" else 1
        super().__init__(
            name=VLLM,
            held=held,
            prompts=prompts,
            device=device,
            load=lambda model: load_vllm(model, parallel=parallel),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmModel:
    """A model in vLLM's hands."""

    engine: Any
    """`vllm.LLM`."""
    parameters: Callable[..., Any]
    """`vllm.SamplingParams`."""
    encoder: TextEncoder
    failures: tuple[type[Exception], ...]
    """What vLLM raises when it can't go on."""

    def encode(self, text: str, *, new_tokens: int) -> tuple[int, ...]:
        """Token ids of a text: those that transformers gets."""
        return self.encoder.encode(text, new_tokens=new_tokens)

    def generate_batch(
        self, prompts: Sequence[Sequence[int]], *, new_tokens: int
    ) -> tuple[tuple[int, ...], ...]:
        """The greedy answers, in order.

        Raises:
            WorkloadError: If vLLM fails, or gives another number of tokens.
        """
        greedy = self.parameters(
            temperature=0.0,
            max_tokens=new_tokens,
            min_tokens=new_tokens,
            stop_token_ids=list(self.encoder.eos_ids),
            detokenize=False,
        )
        inputs = [{"prompt_token_ids": list(ids)} for ids in prompts]
        try:
            outputs = self.engine.generate(inputs, greedy, use_tqdm=False)
        except self.failures as error:
            raise _failed(error) from error
        answers = tuple(tuple(output.outputs[0].token_ids) for output in outputs)
        if [len(answer) for answer in answers] != [new_tokens] * len(prompts):
            raise WorkloadError(f"vllm gave answers of other lengths than {new_tokens} tokens")
        return answers


def load_vllm(model: HeldModel, *, parallel: int) -> VllmModel:
    """A model on one GPU, or spread over several.

    Args:
        model: The model on disk.
        parallel: GPUs to spread it over.

    Raises:
        WorkloadError: If the folder holds no complete model, or memory is too small.
    """
    os.environ.setdefault(*_IN_PROCESS)
    from vllm import LLM, SamplingParams  # noqa: PLC0415 - seconds to import, and optional

    encoder = load_encoder(model.folder)
    failures = _failures()
    try:
        engine = LLM(
            model=str(model.folder),
            dtype=model.ref.dtype,
            tensor_parallel_size=parallel,
            max_model_len=min(encoder.context_tokens, LENGTH_LIMIT),
            enable_prefix_caching=False,
            generation_config="vllm",
            seed=0,
        )
    except failures as error:
        raise _failed(error) from error
    return VllmModel(engine=engine, parameters=SamplingParams, encoder=encoder, failures=failures)


def _failures() -> tuple[type[Exception], ...]:
    """What vLLM raises: torch's and Python's errors, and its own where it has them."""
    known: tuple[type[Exception], ...] = (RuntimeError, ValueError, OSError)
    try:
        from vllm.v1.engine.exceptions import (  # noqa: PLC0415 - as above
            EngineDeadError,
            EngineGenerateError,
        )
    except ModuleNotFoundError:
        return known
    return (*known, EngineDeadError, EngineGenerateError)


def _failed(error: Exception) -> WorkloadError:
    what = str(error).splitlines()[0] if str(error) else type(error).__name__
    return WorkloadError(
        f"vllm failed: {what}",
        hint="Its log says more. Too little memory: choose a smaller model, or spread over GPUs.",
    )
