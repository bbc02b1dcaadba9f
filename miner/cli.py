"""The miner's command line: its commands, and how errors end.

The commands are in `cli_measure`, `cli_models` and `cli_node`; they alone put the parts together.
"""

import importlib.metadata
import sys

from cyclopts import App, CycloptsError

from miner.cli_measure import measure, meter
from miner.cli_models import fetch_model, list_models, verify_model
from miner.cli_node import check, serve, settings
from miner.cli_output import EXIT_INTERRUPTED, EXIT_OUR_ERROR, EXIT_USAGE
from protocol.errors import Error

PROGRAM = "carbonbench-miner"
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
models_app.command(list_models, name="list")
models_app.command(fetch_model, name="fetch")
models_app.command(verify_model, name="verify")
for command in (check, measure, meter, serve, settings):
    app.command(command)
app.command(models_app)


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


def _print_error(message: str, hint: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    if hint:
        print(f"hint: {hint}", file=sys.stderr)


def _first_of(group: BaseExceptionGroup[Error]) -> Error:
    first = group.exceptions[0]
    return _first_of(first) if isinstance(first, BaseExceptionGroup) else first


if __name__ == "__main__":
    main()
