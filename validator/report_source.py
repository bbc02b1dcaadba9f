"""What an audit of token proofs needs from outside: miners' reports, and the models."""

from collections.abc import Callable
from pathlib import Path

import httpx

from protocol.canonical import parse
from protocol.constants import REPORT_MAX_BYTES
from protocol.errors import ProtocolError, SourceError, WorkloadError
from protocol.ids import Digest
from protocol.messages import Report
from protocol.model_files import cache_dir, resolve_model
from protocol.prompt_sources import load_prompts
from protocol.signing import Signed
from protocol.workload import workload_of
from validator.rescoring import ModelRescorer, ReferenceModel

_TIMEOUT_SECONDS = 30.0
_ENVELOPE_BYTES = 4096


def fetch_reports(source: str) -> Callable[[Digest], Signed[Report] | None]:
    """Reports by digest, from a validator's log server or from a folder of `<digest>.json`.

    The function that is returned raises `SourceError` if the source cannot be read.
    """

    def fetch(digest: Digest) -> Signed[Report] | None:
        data = (
            _from_url(f"{source.rstrip('/')}/v1/reports/{digest}")
            if _is_url(source)
            else (_from_file(Path(source) / f"{digest}.json"))
        )
        if data is None:
            return None
        try:
            return parse(Signed[Report], data, max_bytes=REPORT_MAX_BYTES + _ENVELOPE_BYTES)
        except ProtocolError as error:
            raise SourceError(f"{source} serves no report for {digest}: {error}") from error

    return fetch


def open_rescorers(models_dir: Path | None = None) -> Callable[[Report], ModelRescorer]:
    """Re-scoring by report: its model and its prompts, opened when first needed.

    The function that is returned raises `WorkloadError` if this machine lacks either, or has
    other weights than the report names.
    """
    folder = models_dir or cache_dir() / "models"
    opened: dict[tuple[str, str], ModelRescorer] = {}

    def rescorer(report: Report) -> ModelRescorer:
        key = (report.workload, report.model.weights_digest)
        if key not in opened:
            local = resolve_model(report.model.id, folder)
            if local.weights_digest != report.model.weights_digest:
                raise WorkloadError(
                    f"the weights of {local.id} on this machine are not those of the report",
                    hint=f"The report names {report.model.weights_digest}.",
                )
            workload = workload_of(report.workload)
            opened.clear()  # one model in memory at a time
            opened[key] = ModelRescorer(
                models={
                    (report.model.id, report.model.revision): ReferenceModel(
                        folder=local.folder, weights_digest=local.weights_digest
                    )
                },
                prompts=load_prompts(workload.prompts, workload.prompt_count),
                workload=workload,
            )
        return opened[key]

    return rescorer


def _is_url(source: str) -> bool:
    return source.startswith(("http://", "https://"))


def _from_url(url: str) -> bytes | None:
    try:
        answer = httpx.get(url, timeout=_TIMEOUT_SECONDS)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise SourceError(f"cannot read {url}: {error}") from error
    return answer.content


def _from_file(path: Path) -> bytes | None:
    try:
        return path.read_bytes() if path.exists() else None
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}") from error
