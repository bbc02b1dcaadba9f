"""Weights rounded to cheaper number formats, in place and back. Imports torch.

A validator re-scores with them to see whether an answer fits a cheaper format better than the
declared one; `scripts.cheat_weights` runs them as a cheating miner would. The arithmetic stays
the model's own: weights are rounded to the cheaper format and back.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from transformers import PreTrainedModel

from protocol.models import Dtype

_INT8_LEVELS = 127


def linear_weights(network: PreTrainedModel) -> Iterator[torch.Tensor]:
    """Weights of all linear layers but the output head, which may be tied to the embedding."""
    head = network.get_output_embeddings()  # type: ignore[no-untyped-call]
    for module in network.modules():
        if isinstance(module, torch.nn.Linear) and module is not head:
            yield module.weight


def round_to_int8(weight: torch.Tensor) -> torch.Tensor:
    """8-bit integers, one symmetric scale per output channel (as LLM.int8 stores weights)."""
    scale = weight.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / _INT8_LEVELS
    return (weight / scale).round() * scale


def round_to_fp8(weight: torch.Tensor) -> torch.Tensor:
    """8-bit floats (e4m3), one scale per tensor."""
    scale = weight.abs().amax() / torch.finfo(torch.float8_e4m3fn).max
    return (weight / scale).to(torch.float8_e4m3fn).to(weight.dtype) * scale


CHEAPER: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "int8": round_to_int8,
    "fp8": round_to_fp8,
}
"""Formats that a validator can re-score with, by name."""


@contextmanager
def cheaper_weights(network: PreTrainedModel, name: str, dtype: Dtype) -> Iterator[None]:
    """The model with its linear weights rounded to a cheaper format, for the time being.

    Args:
        network: In memory, its weights exactly representable in `dtype`.
        name: A key of `CHEAPER`.
        dtype: The declared format, in which the weights are kept meanwhile.
    """
    kept = [weight.to(getattr(torch, dtype), copy=True) for weight in linear_weights(network)]
    try:
        with torch.no_grad():
            for weight in linear_weights(network):
                weight.copy_(CHEAPER[name](weight))
        yield
    finally:
        with torch.no_grad():
            for weight, original in zip(linear_weights(network), kept, strict=True):
                weight.copy_(original)
