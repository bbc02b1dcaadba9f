"""The models that a miner offers: on disk, hashed, and known to the network's catalogue."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from protocol.errors import WorkloadError
from protocol.messages import ModelRef
from protocol.model_files import LocalModel, resolve_model
from protocol.models import CATALOGUE, Dtype


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldModel:
    """A model on this machine's disk."""

    ref: ModelRef
    folder: Path


def hold(local: LocalModel, dtype: Dtype) -> HeldModel:
    """A model under the name that reports give it."""
    ref = ModelRef(
        id=local.id, revision=local.revision, weights_digest=local.weights_digest, dtype=dtype
    )
    return HeldModel(ref=ref, folder=local.folder)


def hold_all(names: Sequence[str], models_dir: Path, dtype: Dtype) -> tuple[HeldModel, ...]:
    """Every named model, for a network: all of them known to the catalogue, none twice.

    Args:
        names: Folders, or names of the catalogue.
        models_dir: Folder of fetched models.
        dtype: Number format that they are run in.

    Raises:
        WorkloadError: If there is none, one is missing, or its weights are not the catalogue's.
    """
    if not names:
        raise WorkloadError(
            "no model to offer", hint="Name at least one with MINER_MODELS or --model."
        )
    held: dict[tuple[str, str], HeldModel] = {}
    for name in names:
        local = resolve_model(name, models_dir)
        if not any((local.id, local.revision) == (known.id, known.revision) for known in CATALOGUE):
            raise WorkloadError(
                f"the weights in {local.folder} are of no model of the catalogue",
                hint="They are damaged or changed: fetch the model again.",
            )
        held[local.id, local.revision] = hold(local, dtype)
    return tuple(held.values())
