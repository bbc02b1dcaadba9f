"""The miner's command line: its commands, and how errors end.

The commands are in `cli_runs`, `cli_measure`, `cli_models` and `cli_node`; they alone put the
parts together.
"""

import importlib.metadata
import sys

from cyclopts import App

from miner.cli_measure import meter
from miner.cli_models import fetch_model, list_models, verify_model
from miner.cli_node import check, register, serve, settings, status
from miner.cli_runs import compare, measure, verify
from protocol.command_line import execute

PROGRAM = "carbonbench-miner"
_EXTRA = frozenset({"torch", "transformers", "fastapi", "uvicorn", "bittensor", "pynvml"})
"""Modules that come with the extra `miner`."""

app = App(
    name=PROGRAM,
    help="Measure what a token costs on this machine's GPU, and report it to CarbonBench.",
    version=lambda: importlib.metadata.version("carbonbench"),
    version_flags=["--version"],
    help_format="plaintext",  # a renderer of Markdown costs the list a fifth of its time
    suppress_keyboard_interrupt=False,
)
models_app = App(
    name="models", help="The open models that the network measures.", help_format="markdown"
)
models_app.command(list_models, name="list")
models_app.command(fetch_model, name="fetch")
models_app.command(verify_model, name="verify")
for command in (check, measure, compare, verify, meter, register, serve, settings, status):
    app.command(command, help_format="markdown")
app.command(models_app)


def main() -> None:
    """Run the command line; exit 0, 1 for an error of ours, 2 for wrong usage, 130 for Ctrl-C."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """One command; its exit status."""
    said = "stopped: the run is void, nothing was written"
    return execute(app, arguments, extra="miner", modules=_EXTRA, interrupted=said)


if __name__ == "__main__":
    main()
