"""The commands of the node: look before the start, serve, see what came of it, settings."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from miner.cli_output import print_json
from protocol.command_line import EXIT_OUR_ERROR, configure_log

if TYPE_CHECKING:
    from miner.settings import Settings


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class NodeOptions:
    """What can be given on the command line instead of `MINER_*`.

    Args:
        network: Network profile: devnet, test or finney.
        endpoint: Websocket URL of a chain node.
        netuid: Subnet.
        wallet_name: Wallet whose hotkey signs.
        wallet_hotkey: Name of the hotkey.
        wallet_path: Folder of wallets.
        models: Model to offer: a folder or a catalogue name. May be given more than once.
        device: Torch device: auto, cpu, cuda:0 or spread.
        threads: CPU threads of the model.
        host: Address to serve on.
        port: Port to serve on; 0 takes any free one.
        axon_ip: Public address to announce.
        data_dir: Folder of reports and commitments.
    """

    network: str | None = None
    endpoint: str | None = None
    netuid: int | None = None
    wallet_name: Annotated[str | None, Parameter(name=["--wallet-name", "--wallet"])] = None
    wallet_hotkey: Annotated[str | None, Parameter(name=["--wallet-hotkey", "--hotkey"])] = None
    wallet_path: Path | None = None
    models: Annotated[tuple[str, ...] | None, Parameter(name="--model", negative="")] = None
    device: str | None = None
    threads: int | None = None
    host: str | None = None
    port: int | None = None
    axon_ip: str | None = None
    data_dir: Path | None = None


def check(
    *,
    node: NodeOptions | None = None,
    calibrate: Annotated[bool, Parameter(negative="")] = False,
    load: str | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Show what is here, what is missing, and how to mend it; exit 1 when something is missing.

    Args:
        node: Settings given on the command line.
        calibrate: Instead, time the GPUs' counters and sensors for 20 s and print the record.
        load: With --calibrate: a command that keeps the GPUs busy, quoted as one word; counter
            and power trace are compared over its run too.
        as_json: Print JSON.
    """
    if calibrate:
        return _calibrate(_settings(node), load)
    import asyncio

    from miner.checkup import check_all

    effective = _settings(node)
    rows = asyncio.run(check_all(effective))
    values = effective.model_dump(mode="json")
    unknown = effective.unknown_variables()
    if as_json:
        print_json({"rows": [asdict(row) for row in rows], "settings": values, "unknown": unknown})
    else:
        from rich.console import Console

        from protocol.checkup import print_rows

        print_rows(rows, Console())
        print("settings: " + ", ".join(f"{name}={value}" for name, value in values.items()))
        for name in unknown:
            print(f"unknown variable {name}: no setting has this name")
    return EXIT_OUR_ERROR if unknown or not all(row.ok for row in rows) else 0


def serve(*, node: NodeOptions | None = None) -> int:
    """Follow the chain's rounds: measure each, commit to the report, serve it to validators.

    Ends cleanly on SIGTERM and Ctrl-C. Logs one line of JSON per event where the output is no
    terminal; `miner_ready` says that validators can call.

    Args:
        node: Settings given on the command line.
    """
    import asyncio

    from miner.serving import serve as serve_until_stopped

    effective = _settings(node)
    configure_log(effective.log_level)
    asyncio.run(serve_until_stopped(effective))
    return 0


def status(
    *,
    node: NodeOptions | None = None,
    logs: Annotated[tuple[str, ...] | None, Parameter(name="--log", negative="")] = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Show how the last rounds ended and what validators made of them; exit 1 on any problem.

    Args:
        node: Settings given on the command line.
        logs: Address of a validator's log; may be given more than once.
        as_json: Print JSON.
    """
    import asyncio

    from miner.status_report import print_status, report_status

    effective = _settings(node, validator_logs=logs)
    report = asyncio.run(report_status(effective))
    if as_json:
        print_json(report.as_json())
    else:
        from rich.console import Console

        print_status(report, Console())
    return EXIT_OUR_ERROR if report.problems else 0


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

    effective = _settings(node)
    lines = register_command(
        endpoint=effective.chain_endpoint,
        netuid=effective.subnet(),
        wallet=(effective.wallet_name, effective.wallet_hotkey, effective.wallet_path),
        max_cost_tao=max_cost_tao,
    )
    print("\n".join(lines))
    return 0


def settings() -> None:
    """Print a `miner.env` with every setting, its meaning and its default."""
    from miner.settings import Settings

    print(Settings.example_file(), end="")


def _calibrate(effective: "Settings", load: str | None) -> int:
    from miner.calibration import calibrate_record, command_load, record_json
    from miner.meter import open_meter
    from miner.timer import SystemTimer

    with open_meter(effective.gpus) as opened:
        record = calibrate_record(opened, SystemTimer(), load=command_load(load) if load else None)
        print_json(record_json(record))
    return 0


def _settings(node: NodeOptions | None, **more: object) -> "Settings":
    from miner.settings import Settings

    given = (asdict(node) if node else {}) | more
    return Settings.load({name: value for name, value in given.items() if value not in (None, ())})
