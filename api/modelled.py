"""Figures that nobody measured: the EcoLogits regression, and the making of the hardware.

Both come from EcoLogits 0.11.3 (MPL-2.0; docs/methodology/llm_inference): a regression on
ML.ENERGY measurements for a served model of given active parameters, and life-cycle figures
of servers. A closed model's parameters are themselves a guess with low and high.
"""

import math

from api.catalogue import Model
from api.footprint import Estimate, Factor, spread
from protocol.messages import Status
from protocol.units import WattHours, joules_from_wh, wh_per_1k, wh_per_mtok

SOURCE = "EcoLogits 0.11.3"
LICENCE = "MPL-2.0"
ASSUMED_BATCH = 64
"""Requests that the modelled server handles at once."""

SERVER_EMBODIED_G = 5_700_000.0
"""Making a server without its GPUs (gCO2e)."""
GPU_EMBODIED_G = 273_000.0
"""Making one GPU board (gCO2e)."""
SERVER_GPUS = 8
LIFETIME_SECONDS = 3 * 365 * 24 * 60 * 60
"""Use of the hardware before it is replaced: three years."""
EMBODIED_SPREAD = 2.0
"""Embodied figures are taken to be known within a factor of 2 (our assumption)."""

_ENERGY = (1.1665273170451914e-06, -0.011205921025579175, 4.052928146734005e-05)
"""GPU energy (Wh per token and GPU): a exp(b batch) x billion active parameters + c."""
_LATENCY = (0.0006785088094353663, 0.0003119310311688259, 0.019473717579473387)
"""Seconds per token: a x billion active parameters + b x batch + c."""
_SPREAD = 2.0
"""The regression at an assumed batch is taken to be known within a factor of 2 (our
assumption: at batch 64 it gives 1.4 times what ML.ENERGY v3 measured for 8B and 70B)."""
_GPU_MEMORY_GB = 80
_BYTES_PER_PARAMETER = 2
_MEMORY_MARGIN = 1.2
"""Memory over weights."""
_TOKENS_PER_MTOK = 10**6


def modelled_energy(model: Model, unit: str) -> tuple[Factor, int] | None:
    """GPU energy of a million output tokens and the GPUs it takes; None without parameters."""
    low = _energy_wh_per_mtok(model.total_low_b, model.active_low_b)
    high = _energy_wh_per_mtok(model.total_high_b, model.active_high_b)
    if low is None or high is None:
        return None
    middle = math.sqrt(low * high)
    factor = Factor(
        estimate=Estimate(value=middle, low=low / _SPREAD, high=high * _SPREAD),
        unit=unit,
        status=Status.MODELLED,
        source=f"{SOURCE} regression; parameters: {model.parameters_source}",
        date="2026",
        licence=LICENCE,
        note=_note(model),
    )
    return factor, _gpus(model.total_high_b or 0.0)


def modelled_embodied(model: Model, gpu_count: int) -> Factor | None:
    """Share of the hardware in a million output tokens of a modelled server."""
    if model.active_low_b is None or model.active_high_b is None:
        return None
    active = math.sqrt(model.active_low_b * model.active_high_b)
    slope, per_request, constant = _LATENCY
    seconds = slope * active + per_request * ASSUMED_BATCH + constant
    return embodied(gpu_seconds_per_token=gpu_count * seconds / ASSUMED_BATCH)


def embodied(*, gpu_seconds_per_token: float) -> Factor:
    """Share of making the hardware in a million output tokens.

    Args:
        gpu_seconds_per_token: GPUs in use over the server's output tokens per second.
    """
    per_gpu_g = GPU_EMBODIED_G + SERVER_EMBODIED_G / SERVER_GPUS
    grams = per_gpu_g * gpu_seconds_per_token * _TOKENS_PER_MTOK / LIFETIME_SECONDS
    return Factor(
        estimate=spread(grams, EMBODIED_SPREAD),
        unit="gCO2e per 1e6 output tokens",
        status=Status.MODELLED,
        source=SOURCE,
        date="2026",
        licence=LICENCE,
        note="GPU and its eighth of the server over three years of full use; factor 2 assumed",
    )


def _energy_wh_per_mtok(total_b: float | None, active_b: float | None) -> float | None:
    if total_b is None or active_b is None:
        return None
    slope, decay, constant = _ENERGY
    per_gpu = slope * math.exp(decay * ASSUMED_BATCH) * active_b + constant
    per_token = joules_from_wh(WattHours(_gpus(total_b) * per_gpu))
    return wh_per_mtok(wh_per_1k(per_token, 1))


def _gpus(total_b: float) -> int:
    needed = math.ceil(_MEMORY_MARGIN * total_b * _BYTES_PER_PARAMETER / _GPU_MEMORY_GB)
    return int(2 ** math.ceil(math.log2(max(1, needed))))


def _note(model: Model) -> str:
    if model.active_low_b == model.active_high_b:
        parameters = f"{model.active_low_b:g} billion active parameters"
    else:
        parameters = f"{model.active_low_b:g} to {model.active_high_b:g} billion active parameters"
    return f"batch {ASSUMED_BATCH} on 80 GB GPUs, {parameters}; not measured"
