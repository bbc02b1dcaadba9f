"""The commands of `carbonbench-miner models`."""

import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from protocol.models import Model


def list_models(*, as_json: Annotated[bool, Parameter(name="--json", negative="")] = False) -> None:
    """The catalogue: name, revision, class, parameters, memory and disk need, licence.

    Only `--json` has commits in full, and how well each number of parameters is known.

    Args:
        as_json: Print JSON.
    """
    from rich.console import Console

    from miner.cli_output import print_json
    from miner.model_table import model_json, print_models
    from protocol.models import CATALOGUE

    if as_json:
        print_json([model_json(model) for model in CATALOGUE])
    else:
        print_models(CATALOGUE, Console())


def fetch_model(name: str) -> None:
    """Download a model of the catalogue at its pinned commit, and check its digest if known.

    Says first what it needs of disk and memory, and refuses when the disk has no room.

    Args:
        name: Name of the catalogue; `NAME@REVISION` where it has several revisions.
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
    """Hash a model's weights and compare them with the catalogue's digest, where it has one.

    Args:
        name: A folder, or a name of the catalogue; `NAME@REVISION` where it has several revisions.
    """
    from protocol.model_files import cache_dir, resolve_model
    from protocol.weight_files import parameter_count

    local = resolve_model(name, cache_dir() / "models")
    count = parameter_count(local.folder)
    print(
        f"{local.id}  {local.revision}  {local.weights_digest}  {count} parameters  {local.folder}"
    )


def _needs(model: "Model") -> list[str]:
    from miner.model_table import shown_revision
    from protocol.units import mebibytes

    memory = mebibytes(model.memory_bytes("bfloat16"))
    lines = [
        f"{model.id} at {shown_revision(model)} ({model.license}), class {model.size_class}:"
        f" about {mebibytes(model.download_bytes):.0f} MiB of disk,"
        f" {memory:.0f} MiB of memory in bfloat16"
    ]
    if model.gated:
        lines.append(
            f"gated: accept its terms at https://huggingface.co/{model.id}, then set HF_TOKEN"
        )
    return lines
