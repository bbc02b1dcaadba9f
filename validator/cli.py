"""The validator's command line; the one place that puts its parts together."""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

from protocol.command_line import EXIT_OUR_ERROR, configure_log
from protocol.command_line import execute as execute_command
from protocol.errors import SourceError

if TYPE_CHECKING:
    from validator.audit import AuditReport
    from validator.log_source import ExportedLog
    from validator.proof_audit import ProofAudit
    from validator.settings import Settings

PROGRAM = "carbonbench-validator"
_EXTRA = frozenset(
    {"torch", "transformers", "fastapi", "uvicorn", "bittensor", "sqlalchemy", "alembic", "psycopg"}
)
"""Modules that come with the extra `validator`."""
_STATUS_TIMEOUT_SECONDS = 5.0

app = App(
    name=PROGRAM,
    help="Prove what miners measured, score it, keep the public log, set weights.",
    version_flags=["--version"],
)


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class NodeOptions:
    """What can be given on the command line instead of `VALIDATOR_*`.

    Args:
        network: Network profile: devnet, test or finney.
        endpoint: Websocket URL of a chain node.
        netuid: Subnet.
        wallet_name: Wallet whose hotkey signs.
        wallet_hotkey: Name of the hotkey.
        wallet_path: Folder of wallets.
        models: Model to re-score with: a folder or a catalogue name. May be given more than once.
        device: Torch device for re-scoring: cpu, cuda:0 or auto.
        threads: CPU threads for re-scoring.
        host: Address of the log server.
        port: Port of the log server; 0 takes any free one.
        data_dir: Folder of the database and the lock.
    """

    network: str | None = None
    endpoint: str | None = None
    netuid: int | None = None
    wallet_name: Annotated[str | None, Parameter(name=["--wallet-name", "--wallet"])] = None
    wallet_hotkey: Annotated[str | None, Parameter(name=["--wallet-hotkey", "--hotkey"])] = None
    wallet_path: Path | None = None
    models: Annotated[tuple[str, ...] | None, Parameter(name="--model")] = None
    device: str | None = None
    threads: int | None = None
    host: str | None = None
    port: int | None = None
    data_dir: Path | None = None


@app.command
def check(
    *, node: NodeOptions | None = None, as_json: Annotated[bool, Parameter(name="--json")] = False
) -> int:
    """Show what is here, what is missing, and how to mend it; exit 1 when something is missing.

    Args:
        node: Settings given on the command line.
        as_json: Print JSON.
    """
    import asyncio

    from rich.console import Console

    from protocol.checkup import print_rows
    from validator.checkup import check_all

    settings = _settings(node)
    rows = asyncio.run(check_all(settings))
    effective = settings.model_dump(mode="json")
    unknown = settings.unknown_variables()
    if as_json:
        content = {"rows": [asdict(row) for row in rows], "settings": effective, "unknown": unknown}
        print(json.dumps(content, indent=2))
    else:
        print_rows(rows, Console())
        print("settings: " + ", ".join(f"{name}={value}" for name, value in effective.items()))
        for name in unknown:
            print(f"unknown variable {name}: no setting has this name")
    return EXIT_OUR_ERROR if unknown or not all(row.ok for row in rows) else 0


@app.command
def run(*, node: NodeOptions | None = None) -> int:
    """Follow the chain's rounds: collect, check, re-score, score, log, set weights.

    Ends cleanly on SIGTERM and Ctrl-C, and goes on where it stood when started again. Logs one
    line of JSON per event where the output is no terminal; `validator_ready` says that the log
    server answers.

    Args:
        node: Settings given on the command line.
    """
    settings = _settings(node)
    configure_log(settings.log_level)
    import asyncio

    from validator.running import run as run_until_stopped

    asyncio.run(run_until_stopped(settings))
    return 0


@app.command
def register(
    *,
    node: NodeOptions | None = None,
    max_cost_tao: Annotated[float | None, Parameter(name="--max-cost")] = None,
) -> int:
    """Show what a UID costs, and with a limit take one; needs the coldkey, once.

    Args:
        node: Settings given on the command line.
        max_cost_tao: Most that it may cost (TAO); without it nothing is sent.
    """
    from protocol.registering import register_command

    settings = _settings(node)
    lines = register_command(
        endpoint=settings.chain_endpoint,
        netuid=settings.subnet(),
        wallet=(settings.wallet_name, settings.wallet_hotkey, settings.wallet_path),
        max_cost_tao=max_cost_tao,
    )
    print("\n".join(lines))
    return 0


@app.command(name="settings")
def print_settings() -> None:
    """Print a `validator.env` with every setting, its meaning and its default."""
    from validator.settings import Settings

    print(Settings.example_file(), end="")


@app.command
def migrate(*, node: NodeOptions | None = None) -> int:
    """Bring the database up to date. `run` does the same at its start.

    Args:
        node: Settings given on the command line.
    """
    from validator.database import database_url, open_engine
    from validator.database import migrate as apply
    from validator.running import data_folder

    settings = _settings(node)
    with data_folder(settings.data_dir.expanduser()) as folder:
        engine = open_engine(database_url(settings.database, folder))
        try:
            before, after = apply(engine)
        finally:
            engine.dispose()
    print(f"revision {before or 'none'} -> {after}")
    return 0


@app.command
def audit(
    source: str,
    *,
    validator: str | None = None,
    save: Path | None = None,
    rescore: Annotated[int, Parameter(validator=Number(gte=0))] = 0,
    reports: str | None = None,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> int:
    """Recompute a validator's log from its entries alone; exit 1 if anything differs.

    With `--rescore` the token proof is run again as well, which takes the model on this machine.

    Args:
        source: Address of a log server, such as http://host:8092, or an exported file.
        validator: Hotkey that must have signed (ss58); the tree head's own word by default.
        save: Also write the log to this file, which `audit` reads.
        rescore: Prompts to re-score, from the newest verdicts on.
        reports: Where the reports are, if not at SOURCE: a log server's address, or a folder of
            DIGEST.json.
        as_json: Print JSON.
    """
    from protocol.ids import Hotkey
    from validator.audit import audit as recompute
    from validator.log_source import read_log, save_log

    log = read_log(source)
    if save is not None:
        save_log(log, save)
    report = recompute(log.entries, log.head, validator=Hotkey(validator) if validator else None)
    proofs = _rescored(log, reports or source, rescore) if rescore else None
    if as_json:
        print(json.dumps(asdict(report) | ({"proofs": asdict(proofs)} if proofs else {}), indent=2))
    else:
        _print_audit(report)
        if proofs is not None:
            _print_proofs(proofs)
    return EXIT_OUR_ERROR if report.faults or (proofs and proofs.faults) else 0


def _rescored(log: "ExportedLog", reports: str, prompt_count: int) -> "ProofAudit":
    from validator.proof_audit import audit_proofs, proven_verdicts
    from validator.report_source import fetch_reports, open_rescorers

    return audit_proofs(
        proven_verdicts(log.entries),
        fetch=fetch_reports(reports),
        rescorers=open_rescorers(),
        prompt_count=prompt_count,
    )


def _print_audit(report: "AuditReport") -> None:
    print(
        f"validator {report.validator}: {report.entry_count} entries, "
        f"{report.verdict_count} verdicts, {report.round_count} rounds"
    )
    for fault in report.faults:
        where = "tree head" if fault.position is None else f"entry {fault.position}"
        print(f"{where}: {fault.what}")
    print("the log does not hold" if report.faults else "everything follows from the verdicts")


def _print_proofs(proofs: "ProofAudit") -> None:
    print(
        f"{proofs.prompt_count} prompts of {proofs.verdict_count} verdicts re-scored; "
        f"{proofs.without_report} verdicts without a report"
    )
    for fault in proofs.faults:
        print(f"entry {fault.position}: {fault.what}")
    if proofs.prompt_count:
        print("a token proof does not hold" if proofs.faults else "the token proofs hold")
    else:
        print("no report is there to be re-scored: name their place with --reports")


@app.command
def status(*, node: NodeOptions | None = None) -> int:
    """Show where the validator on this machine stands, as its log server tells it.

    Args:
        node: Settings given on the command line.
    """
    import httpx

    settings = _settings(node)
    url = f"http://{settings.host}:{settings.port}/v1/status"
    try:
        answer = httpx.get(url, timeout=_STATUS_TIMEOUT_SECONDS, trust_env=False)
        answer.raise_for_status()
        print(json.dumps(answer.json(), indent=2))
    except (httpx.HTTPError, ValueError) as error:
        hint = f"Start it with `{PROGRAM} run`, or name its port with --port."
        raise SourceError(f"no validator answers at {url}: {error}", hint=hint) from error
    return 0


def main() -> None:
    """Run the command line; exit 0, 1 for an error of ours, 2 for wrong usage, 130 for Ctrl-C."""
    sys.exit(execute(sys.argv[1:]))


def execute(arguments: list[str]) -> int:
    """One command; its exit status."""
    return execute_command(app, arguments, extra="validator", modules=_EXTRA)


def _settings(node: NodeOptions | None) -> "Settings":
    from validator.settings import Settings

    given = asdict(node) if node else {}
    return Settings.load({name: value for name, value in given.items() if value not in (None, ())})


if __name__ == "__main__":
    main()
