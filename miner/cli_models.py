"""The commands of `carbonbench-miner models`."""

import sys


def list_models() -> None:
    """The catalogue: name, revision, class, memory need in bfloat16, licence."""
    from protocol.models import CATALOGUE
    from protocol.units import mebibytes

    for model in CATALOGUE:
        need = mebibytes(model.memory_bytes("bfloat16"))
        gate = "gated" if model.gated else "open"
        print(
            f"{model.id}  {model.revision or 'main'}  class {model.size_class}"
            f"  {need:.0f} MiB  {model.license}  {gate}"
        )


def fetch_model(name: str) -> None:
    """Download a model of the catalogue and check its digest.

    Args:
        name: Name of the catalogue.
    """
    from protocol import model_files
    from protocol.models import model_named
    from protocol.units import mebibytes

    model = model_named(name)
    size = mebibytes(model.weights_bytes("bfloat16"))
    print(f"{model.id}: about {size:.0f} MiB ({model.license})", file=sys.stderr)
    print(model_files.fetch_model(model, model_files.cache_dir() / "models"))


def verify_model(name: str) -> None:
    """Hash a model's weights and compare them with the catalogue's digest.

    Args:
        name: A folder, or a name of the catalogue.
    """
    from protocol.model_files import cache_dir, resolve_model

    local = resolve_model(name, cache_dir() / "models")
    print(f"{local.id}  {local.revision}  {local.weights_digest}  {local.folder}")
