"""The commands of `carbonbench-miner models`."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from protocol.models import Model


def list_models() -> None:
    """The catalogue: name, revision, class, parameters, memory and disk need, licence, gate.

    Memory is the weights in bfloat16 and a fifth more. A number of parameters marked `assumed` is
    from memory of the model card.
    """
    from protocol.models import CATALOGUE, size_text
    from protocol.units import mebibytes

    for model in CATALOGUE:
        need = mebibytes(model.memory_bytes("bfloat16"))
        gate = "gated" if model.gated else "open"
        print(
            f"{model.id}  {model.revision or 'main'}  class {model.size_class}"
            f"  {size_text(model.parameters)} ({model.parameters_status})"
            f"  memory {need:.0f} MiB  disk {mebibytes(model.download_bytes):.0f} MiB"
            f"  {model.license}  {gate}"
        )


def fetch_model(name: str) -> None:
    """Download a model of the catalogue and check its digest.

    Says first what it needs of disk and memory, and refuses when the disk has no room.

    Args:
        name: Name of the catalogue.
    """
    from miner.room import free_disk_bytes, refuse_full_disk
    from protocol import model_files
    from protocol.models import model_named

    model, models_dir = model_named(name), model_files.cache_dir() / "models"
    for line in _needs(model):
        print(line, file=sys.stderr)
    if model.package is None and not model_files.model_folder(model, models_dir).exists():
        refuse_full_disk(model.download_bytes, free_disk_bytes(models_dir), models_dir)
    print(model_files.fetch_model(model, models_dir))


def verify_model(name: str) -> None:
    """Hash a model's weights and compare them with the catalogue's digest.

    Args:
        name: A folder, or a name of the catalogue.
    """
    from protocol.model_files import cache_dir, resolve_model
    from protocol.weight_files import parameter_count

    local = resolve_model(name, cache_dir() / "models")
    count = parameter_count(local.folder)
    print(
        f"{local.id}  {local.revision}  {local.weights_digest}  {count} parameters  {local.folder}"
    )


def _needs(model: "Model") -> list[str]:
    from protocol.units import mebibytes

    memory = mebibytes(model.memory_bytes("bfloat16"))
    lines = [
        f"{model.id} ({model.license}), class {model.size_class}:"
        f" about {mebibytes(model.download_bytes):.0f} MiB of disk,"
        f" {memory:.0f} MiB of memory in bfloat16"
    ]
    if model.gated:
        lines.append(
            f"gated: accept its terms at https://huggingface.co/{model.id}, then set HF_TOKEN"
        )
    return lines
