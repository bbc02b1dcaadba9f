"""The miner's command line; the one place that puts its parts together."""

import asyncio
import importlib.metadata
import json
import os
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, CycloptsError, Parameter

from protocol.errors import ConfigurationError, Error

if TYPE_CHECKING:
    from miner.settings import Settings

PROGRAM = "carbonbench-miner"
EXIT_OUR_ERROR, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130
_EXTRA = frozenset({"torch", "transformers", "fastapi", "uvicorn", "bittensor", "pynvml"})
"""Modules that come with the extra `miner`."""

app = App(
    name=PROGRAM,
    help="Measure what a token costs on this machine's GPU, and report it to CarbonBench.",
    version=lambda: importlib.metadata.version("carbonbench"),
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,
)
models_app = App(name="models", help="The open models that the network measures.")
app.command(models_app)


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


@app.command
def check(
    *,
    node: NodeOptions | None = None,
    calibrate: Annotated[bool, Parameter(negative="")] = False,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Show what is here, what is missing, and how to mend it; exit 1 when something is missing.

    Args:
        node: Settings given on the command line.
        calibrate: Instead, time the GPUs' counters and sensors for 20 s and print the record.
        as_json: Print JSON.
    """
    if calibrate:
        return _calibrate(_settings(node))
    from miner.checkup import check_all
    from miner.settings import unknown_variables

    effective = _settings(node)
    rows = asyncio.run(check_all(effective))
    values = effective.model_dump(mode="json")
    unknown = unknown_variables()
    if as_json:
        _print_json({"rows": [asdict(row) for row in rows], "settings": values, "unknown": unknown})
    else:
        from rich.console import Console

        from miner.tables import print_rows

        print_rows(rows, Console())
        print("settings: " + ", ".join(f"{name}={value}" for name, value in values.items()))
        for name in unknown:
            print(f"unknown variable {name}: no setting has this name")
    return EXIT_OUR_ERROR if unknown or not all(row.ok for row in rows) else 0


@app.command
def measure(  # noqa: PLR0913 - each is an option of its own
    *,
    model: str,
    prompts: int = 1000,
    prompt_set: str = "auto",
    form: Literal["plain", "tagged"] = "plain",
    device: str = "auto",
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
    threads: int | None = None,
    gpus: Annotated[tuple[int, ...] | None, Parameter(name="--gpu", negative="")] = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    output: Path | None = None,
    quiet: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Run the workload once on this machine and show what it cost.

    Args:
        model: A folder with a model, or a name of the catalogue such as smollm2-135m.
        prompts: How many prompts to run.
        prompt_set: aies (the public AI Energy Score texts), standin, standin-short, the path of a
            file with the public texts, or auto: the public texts, or stand-ins for a shortened
            run where they are not on this machine.
        form: plain as AI Energy Score has it, or tagged as rounds have it.
        device: Torch device: auto, cpu, cuda:0, or spread (layers over all GPUs).
        dtype: Number format; auto is bfloat16 on a GPU and float32 on a CPU.
        threads: CPU threads of the model.
        gpus: NVML index of a GPU to meter; may be given more than once.
        as_json: Print the result as JSON.
        output: Also write the JSON to this file.
        quiet: Show no progress.
    """
    from miner.local_run import LocalRun, Wanted
    from miner.result import result_json
    from miner.tables import print_result, run_with_progress

    wanted = Wanted(
        model=model,
        prompts=prompts,
        prompt_set=prompt_set,
        form=form,
        device=device,
        dtype=dtype,
        threads=threads,
        gpus=gpus,
    )
    if output is not None:
        _refuse_unwritable(output)
    run = LocalRun(wanted)
    result = run_with_progress(run, quiet=quiet)
    content = json.dumps(result_json(result), indent=2)
    if output is not None:
        _write_whole(output, content + "\n")
    if as_json:
        print(content)
    else:
        from rich.console import Console

        print_result(result, Console())
    return 0


@app.command
def meter(
    *command: Annotated[str, Parameter(allow_leading_hyphen=True)],
    gpus: Annotated[
        tuple[int, ...] | None, Parameter(name=["--device", "--gpu"], negative="")
    ] = None,
    share: Annotated[bool, Parameter(negative="")] = False,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    output: Path | None = None,
) -> int:
    """Run any command and give its GPU energy: `carbonbench-miner meter -- python train.py`.

    Args:
        command: Program and arguments, after `--`.
        gpus: NVML index of a GPU to meter; may be given more than once.
        share: Measure although others use the GPU too, and say so.
        as_json: Print JSON, as the last line of standard output.
        output: Write the JSON to this file.
    """
    from miner.meter import Sharing
    from miner.meter_command import run_meter_command

    sharing = Sharing.FLAG if share else Sharing.REFUSE
    return run_meter_command(command, devices=gpus, as_json=as_json, output=output, sharing=sharing)


@app.command
def serve(*, node: NodeOptions | None = None) -> int:
    """Follow the chain's rounds: measure each, commit to the report, serve it to validators.

    Ends cleanly on SIGTERM and Ctrl-C. Logs one line of JSON per event where the output is no
    terminal; `miner_ready` says that validators can call.

    Args:
        node: Settings given on the command line.
    """
    from miner.serving import serve as serve_until_stopped

    effective = _settings(node)
    _configure_log(effective.log_level)
    asyncio.run(serve_until_stopped(effective))
    return 0


@app.command
def settings() -> None:
    """Print a `miner.env` with every setting, its meaning and its default."""
    from miner.settings import example_file

    print(example_file(), end="")


@models_app.command(name="list")
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


@models_app.command(name="fetch")
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


@models_app.command(name="verify")
def verify_model(name: str) -> None:
    """Hash a model's weights and compare them with the catalogue's digest.

    Args:
        name: A folder, or a name of the catalogue.
    """
    from protocol.model_files import cache_dir, resolve_model

    local = resolve_model(name, cache_dir() / "models")
    print(f"{local.id}  {local.revision}  {local.weights_digest}  {local.folder}")


def main() -> None:
    """Run the command line; exit 0, 1 for an error of ours, 2 for wrong usage, 130 for Ctrl-C."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """One command; its exit status."""
    try:
        status = app(
            arguments,
            exit_on_error=False,
            print_error=True,
            result_action="return_value",
        )
    except CycloptsError:
        return EXIT_USAGE
    except KeyboardInterrupt:
        print("stopped: the run is void, nothing was written", file=sys.stderr)
        return EXIT_INTERRUPTED
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        _print_error(f"the module {error.name} is missing", "pip install 'carbonbench[miner]'")
        return EXIT_OUR_ERROR
    except Error as error:
        _print_error(str(error), error.hint)
        return EXIT_OUR_ERROR
    except ExceptionGroup as group:
        errors = group.subgroup(Error)
        if errors is None:
            raise
        first = _first_of(errors)
        _print_error(str(first), first.hint)
        return EXIT_OUR_ERROR
    return status if isinstance(status, int) else 0


def _calibrate(effective: "Settings") -> int:
    from miner.calibration import calibrate_record, record_json
    from miner.meter import open_meter
    from miner.timer import SystemTimer

    with open_meter(effective.gpus) as opened:
        _print_json(record_json(calibrate_record(opened, SystemTimer())))
    return 0


def _settings(node: NodeOptions | None) -> "Settings":
    from miner.settings import load_settings

    given = asdict(node) if node else {}
    return load_settings({name: value for name, value in given.items() if value not in (None, ())})


def _configure_log(level: str) -> None:
    import structlog

    pretty = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer() if pretty else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _refuse_unwritable(output: Path) -> None:
    if not os.access(output.parent, os.W_OK) or output.is_dir():
        raise ConfigurationError(
            f"cannot write {output}", hint="Choose a file in a folder that you may write to."
        )


def _write_whole(path: Path, content: str) -> None:
    """Write a file whole or not at all."""
    try:
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as partial:
            partial.write(content)
        Path(partial.name).replace(path)
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from error


def _print_json(content: object) -> None:
    print(json.dumps(content, indent=2))


def _print_error(message: str, hint: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    if hint:
        print(f"hint: {hint}", file=sys.stderr)


def _first_of(group: BaseExceptionGroup[Error]) -> Error:
    first = group.exceptions[0]
    return _first_of(first) if isinstance(first, BaseExceptionGroup) else first


if __name__ == "__main__":
    main()
