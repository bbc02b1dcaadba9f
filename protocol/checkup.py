"""The rows of a role's `check`: what was probed, whether it works, how to mend it.

The roles put their own rows before those of the chain, which are the same for both. Importing
this module loads the chain SDK (0.3 s).
"""

import importlib.metadata
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from protocol.compatibility import Probe
from protocol.errors import ConfigurationError, Error
from protocol.ids import Netuid
from protocol.subtensor import SubtensorChain

ChainProbe = tuple[str, Callable[[SubtensorChain], Awaitable[str]]]
"""A row's name, and what asks the chain for its detail."""


_NO_HINT = "If this tells you nothing, report it with the output of `check --json`."


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One thing that was looked at."""

    what: str
    ok: bool
    detail: str
    hint: str = ""


def row(what: str, probe: Callable[[], str]) -> Row:
    """The row of something on this machine; our errors become its detail and hint."""
    try:
        return Row(what=what, ok=True, detail=probe())
    except Error as error:
        return _failed(what, error)


async def row_later(what: str, probe: Awaitable[str]) -> Row:
    """The row of something that takes waiting."""
    try:
        return Row(what=what, ok=True, detail=await probe)
    except Error as error:
        return _failed(what, error)


def package_versions(distributions: Sequence[str], *, extra: str) -> str:
    """Names and versions of what a role stands on.

    Raises:
        ConfigurationError: If one is missing; the hint names the extra that brings it.
    """
    try:
        return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in distributions)
    except importlib.metadata.PackageNotFoundError as error:
        raise ConfigurationError(
            f"the distribution {error.name} is missing",
            hint=f"Install the {extra}'s parts: pip install 'carbonbench[{extra}]'",
        ) from error


async def chain_rows(
    endpoint: str, netuid: Callable[[], Netuid], probes: Sequence[ChainProbe]
) -> list[Row]:
    """Rows about the chain: reached, each thing of its runtime that is used, and the role's own.

    Args:
        endpoint: Websocket URL or network name.
        netuid: Gives the subnet, or raises.
        probes: What the role asks beyond.
    """
    try:
        chain = await SubtensorChain.connect(endpoint=endpoint, netuid=netuid(), signer=None)
    except Error as error:
        return [_failed("chain", error)]
    try:
        rows = [await row_later("chain", _reached(chain))]
        rows += await _runtime_rows(chain)
        rows += [await row_later(what, ask(chain)) for what, ask in probes]
        return rows
    finally:
        await chain.close()


def print_rows(rows: Sequence[Row], console: Console) -> None:
    """The table of `check`."""
    table = Table()
    table.add_column("what", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("detail, and how to mend it", overflow="fold")
    for each in rows:
        state = "ok" if each.ok else "[bold red]failed[/]"
        detail = each.detail if each.ok or not each.hint else f"{each.detail}\n-> {each.hint}"
        table.add_row(each.what, state, escape(detail))
    console.print(table)


def _failed(what: str, error: Error) -> Row:
    return Row(what=what, ok=False, detail=str(error), hint=error.hint or _NO_HINT)


async def _reached(chain: SubtensorChain) -> str:
    head = await chain.head()
    return f"{chain.endpoint} at block {head.number}"


async def _runtime_rows(chain: SubtensorChain) -> list[Row]:
    """What of the runtime is used: one row for each kind, and one for each thing that fails."""
    try:
        probes = await chain.compatibility()
    except Error as error:
        return [_failed("runtime", error)]
    rows = [Row(what="runtime", ok=True, detail=probes[0].detail)]
    for kind in dict.fromkeys(probe.kind for probe in probes[1:]):
        rows += _kind_rows(kind, [probe for probe in probes if probe.kind == kind])
    return rows


def _kind_rows(kind: str, probes: Sequence[Probe]) -> list[Row]:
    working = [probe.name for probe in probes if probe.ok]
    rows = [
        Row(what=kind, ok=False, detail=f"{probe.name}: {probe.detail}", hint=probe.hint)
        for probe in probes
        if not probe.ok
    ]
    summary = f"{len(working)} of {len(probes)} work: {', '.join(working)}"
    return [Row(what=kind, ok=True, detail=summary), *rows] if working else rows
