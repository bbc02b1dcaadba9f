"""The whole network on one machine: `make demo`.

A devnet chain, five miners (three honest, two cheats), a validator and an API node, each the
real program in a process of its own, play two rounds on simulated GPUs; then the tables are
read back from the real parts: verdicts from the validator's log, weights from the chain
through the SDK, the ranking from the API. Nobody waits for a clock: when a round has nothing
left to wait for, the chain is told to make the blocks up to the next phase.
"""

import argparse
import asyncio
import contextlib
import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from protocol.errors import ConfigurationError, Error
from protocol.ids import RoundNumber
from protocol.model_files import cache_dir
from protocol.networks import DEVNET
from scripts.devnet.processes import Fleet, free_port, import_early
from scripts.devnet.stage import TORCH_ENVIRONMENT, Stage, open_stage
from scripts.devnet.tables import print_tables
from scripts.smollm2 import ensure_smollm2

DEFAULT_API_PORT = 8730
_CONSOLE = Console(highlight=False, soft_wrap=True)
_BEGUN_SECONDS = time.monotonic()


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="make demo ARGS='...'",
        description="The CarbonBench network on this machine, on simulated GPUs.",
    )
    parser.add_argument("--once", action="store_true", help="end after the tables, status 0")
    parser.add_argument("--rounds", type=_positive, default=2, help="rounds to play (default: 2)")
    parser.add_argument(
        "--api-port",
        type=int,
        help=f"port of the web page (default: {DEFAULT_API_PORT}, or any if that is in use)",
    )
    parser.add_argument("--data-dir", type=Path, help="keep the network's data and logs here")
    return parser.parse_args(arguments)


def main() -> int:
    """Run the demo; the exit status."""
    options = parse()
    try:
        asyncio.run(_until_stopped(options))
    except Error as error:
        print(f"error: {error}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


async def _until_stopped(options: argparse.Namespace) -> None:
    """Play, and end everything on SIGINT or SIGTERM."""
    playing = asyncio.create_task(play(options))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, playing.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await playing
        return
    _say("stopped: every part has ended")
    raise KeyboardInterrupt


async def play(options: argparse.Namespace) -> None:
    """The demo, from an empty folder to the tables."""
    folder = (options.data_dir or cache_dir() / "demo").absolute()
    with exclusive(folder):
        _say("preparing the model SmolLM2-135M-Instruct")
        model = await asyncio.to_thread(ensure_smollm2, cache_dir())
        os.environ.update(TORCH_ENVIRONMENT)  # read when torch is imported, so before it is
        import_early("protocol.generation", "protocol.subtensor", "fastapi", "uvicorn")
        async with Fleet(folder / "logs") as fleet:
            _say("starting chain, validator, five miners and API")
            port = _api_port(options.api_port)
            async with open_stage(fleet, folder, model=model, api_port=port) as stage:
                first = DEVNET.schedule.round_at(await stage.block())
                for number in range(first, first + options.rounds):
                    await play_round(stage, RoundNumber(number))
                await stage.api_has_round()
                await print_tables(stage, _CONSOLE)
                if not options.once:
                    await _serve_on(stage)


async def play_round(stage: Stage, number: RoundNumber) -> None:
    """One round, its blocks made as soon as nobody needs the time in between."""
    schedule = DEVNET.schedule
    players = len(stage.miners)
    await stage.mine_to(schedule.start(number))
    _say(f"round {number}: {players} miners measure {DEVNET.workload.key}")
    await stage.until(number, "committed", players, _say)
    await stage.mine_to(schedule.beacon(number))
    await stage.until(number, "verdicts", players, _say)
    await stage.mine_to(schedule.reveal_deadline(number) + 1)
    await stage.until_scored(number)
    _say(f"round {number}: scored, weights on chain")


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold a data folder for one demo.

    Raises:
        ConfigurationError: If another demo holds it, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "demo.lock").open("w")
    except OSError as error:
        raise ConfigurationError(
            f"cannot write to {folder}: {error.strerror}",
            hint="Name a folder that you may write to: make demo ARGS='--data-dir FOLDER'.",
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(
                f"another demo is running in {folder}",
                hint="End it with Ctrl-C, or name another folder with ARGS='--data-dir FOLDER'.",
            ) from None
        yield


def _api_port(wanted: int | None) -> int:
    port = free_port(wanted if wanted is not None else DEFAULT_API_PORT)
    if wanted and port != wanted:
        raise ConfigurationError(
            f"port {wanted} is in use",
            hint="Leave --api-port out to have a free one chosen.",
        )
    return port


async def _serve_on(stage: Stage) -> None:
    """Keep every part running until the demo is stopped."""
    _say(f"serving {stage.api_url} until Ctrl-C; logs in {os.path.relpath(stage.fleet.log_folder)}")
    while True:
        await asyncio.sleep(1)
        stage.fleet.check_alive()


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _say(text: str) -> None:
    _CONSOLE.print(f"[dim]{time.monotonic() - _BEGUN_SECONDS:6.1f} s[/dim]  {text}")


if __name__ == "__main__":
    sys.exit(main())
