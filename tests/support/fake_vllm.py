"""A `vllm` of the recorded shape: what the engine uses of `LLM`, `SamplingParams`, `RequestOutput`.

Names, keywords and attributes are those of vLLM's offline API (`vllm/entrypoints/llm.py`,
`vllm/sampling_params.py`, `vllm/outputs.py`, read at versions 0.9 to 0.16); an option that they do
not have is a `TypeError` here too.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest

_ENGINE_OPTIONS = frozenset(
    {
        "dtype",
        "enable_prefix_caching",
        "generation_config",
        "gpu_memory_utilization",
        "max_model_len",
        "max_num_seqs",
        "model",
        "seed",
        "tensor_parallel_size",
    }
)


@dataclass(kw_only=True)
class SamplingParams:
    """`vllm.SamplingParams`, as far as it is used."""

    temperature: float = 1.0
    max_tokens: int | None = 16
    min_tokens: int = 0
    stop_token_ids: list[int] | None = None
    ignore_eos: bool = False
    detokenize: bool = True


@dataclass
class CompletionOutput:
    """One answer: `token_ids` is a sequence of ints."""

    index: int
    token_ids: list[int]


@dataclass
class RequestOutput:
    """What one prompt gave."""

    prompt_token_ids: list[int]
    outputs: list[CompletionOutput]


@dataclass
class FakeLlm:
    """Builds `LLM` objects that answer by a function, and remembers what they were asked."""

    answer: Callable[[Sequence[int], int], tuple[int, ...]]
    options: dict[str, object] = field(default_factory=dict)
    asked: list[SamplingParams] = field(default_factory=list)

    def __call__(self, **options: object) -> "FakeLlm":
        unknown = options.keys() - _ENGINE_OPTIONS
        if unknown:
            raise TypeError(f"LLM got unexpected keywords {sorted(unknown)}")
        self.options = options
        return self

    def generate(
        self,
        prompts: Sequence[dict[str, list[int]]],
        sampling_params: SamplingParams,
        *,
        use_tqdm: bool = True,
    ) -> list[RequestOutput]:
        self.asked.append(sampling_params)
        if sampling_params.max_tokens is None:
            raise ValueError("the workload always limits its answers")
        return [
            RequestOutput(
                prompt["prompt_token_ids"],
                [
                    CompletionOutput(
                        0, list(self.answer(prompt["prompt_token_ids"], sampling_params.max_tokens))
                    )
                ],
            )
            for prompt in prompts
        ]


def installed_vllm(monkeypatch: pytest.MonkeyPatch, fake: FakeLlm) -> None:
    """Put the stand-in where `import vllm` finds it, for one test."""
    module = ModuleType("vllm")
    module.__spec__ = ModuleSpec("vllm", None)
    module.LLM = fake  # type: ignore[attr-defined]
    module.SamplingParams = SamplingParams  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
