"""Cheaper weights that a cheating miner might run: for calibration, the demo and tests.

Each function changes a loaded model in place. The arithmetic stays the model's own: the
weights are rounded to the cheaper format and back, which gives the tokens, and so the
margins, of a run in that format.
"""

from collections.abc import Callable, Mapping

import torch

from protocol.cheap_weights import linear_weights, round_to_fp8, round_to_int8
from protocol.generation import LoadedModel

_GROUP = 64
"""Weights that share one scale in the 3- and 4-bit formats."""


def quantise_int8(model: LoadedModel) -> None:
    """Round to 8-bit integers, one symmetric scale per output channel."""
    _replace(model, round_to_int8)


def quantise_fp8(model: LoadedModel) -> None:
    """Round to 8-bit floats (e4m3), one scale per tensor."""
    _replace(model, round_to_fp8)


def quantise_int4(model: LoadedModel) -> None:
    """Round to 4-bit integers, asymmetric, in groups of 64 (as GPTQ and AWQ files do)."""
    _quantise_groups(model, levels=15)


def quantise_int3(model: LoadedModel) -> None:
    """Round to 3-bit integers, asymmetric, in groups of 64."""
    _quantise_groups(model, levels=7)


def drop_layers(model: LoadedModel, count: int) -> None:
    """Leave out transformer layers, spread over the middle of the model.

    Raises:
        ValueError: If fewer than two layers would remain.
    """
    layers = model.network.base_model.get_submodule("layers")
    if not isinstance(layers, torch.nn.ModuleList) or len(layers) <= count + 1:
        raise ValueError(f"cannot drop {count} layers")
    step = len(layers) / (count + 1)
    dropped = {round(step * (number + 1)) for number in range(count)}
    for index in sorted(dropped, reverse=True):
        del layers[index]
    model.network.config.num_hidden_layers = len(layers)
    for index, layer in enumerate(layers):
        layer.get_submodule("self_attn").layer_idx = index  # type: ignore[assignment]  # cache


def drop_one_layer(model: LoadedModel) -> None:
    """Leave out one transformer layer."""
    drop_layers(model, 1)


def drop_six_layers(model: LoadedModel) -> None:
    """Leave out six transformer layers: a fifth of a small model."""
    drop_layers(model, 6)


CHEATS: Mapping[str, Callable[[LoadedModel], None]] = {
    "int8": quantise_int8,
    "fp8": quantise_fp8,
    "int4": quantise_int4,
    "int3": quantise_int3,
    "drop1": drop_one_layer,
    "drop6": drop_six_layers,
}
"""All of them by name, from the subtlest."""


def _quantise_groups(model: LoadedModel, *, levels: int) -> None:
    def rounded(weight: torch.Tensor) -> torch.Tensor:
        groups = weight.reshape(-1, _GROUP)
        low = groups.amin(dim=1, keepdim=True)
        scale = (groups.amax(dim=1, keepdim=True) - low).clamp(min=1e-12) / levels
        return (((groups - low) / scale).round() * scale + low).reshape(weight.shape)

    _replace(model, rounded)


def _replace(model: LoadedModel, rounded: Callable[[torch.Tensor], torch.Tensor]) -> None:
    with torch.no_grad():
        for weight in linear_weights(model.network):
            weight.copy_(rounded(weight))
