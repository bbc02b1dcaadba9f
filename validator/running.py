"""One running validator, put together from its settings: `carbonbench-validator run`."""

import asyncio
import contextlib
import fcntl
import signal
import socket
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import ParamSpec, TypeVar

import structlog

from protocol.errors import ConfigurationError
from protocol.http_server import HttpServer, bind
from protocol.ids import GenesisHash
from protocol.model_files import cache_dir, resolve_model
from protocol.networks import Network
from protocol.prompt_sources import load_prompts
from protocol.signing import Signer
from protocol.subtensor import SubtensorChain
from protocol.wallet import HotkeySigner, load_wallet
from validator.database import database_url, migrate, open_engine
from validator.follower import Follower, HeadClock
from validator.log import TransparencyLog
from validator.metrics import Metrics, Sources
from validator.miners import HttpMiners
from validator.ports import Ports
from validator.rescoring import ModelRescorer, ReferenceModel
from validator.round import RoundStory
from validator.server import create_app
from validator.settings import PORT_VARIABLE, Settings
from validator.status import Observer
from validator.store import Store
from validator.verdicts import Judge
from validator.watch import Watch

_log = structlog.get_logger("validator")

_LOCK_NAME = "validator.lock"

P = ParamSpec("P")
T = TypeVar("T")


async def run(settings: Settings) -> None:
    """Put one validator together and run it until it is told to stop."""
    stopping = stopped_by_signals()
    netuid = settings.subnet()
    async with contextlib.AsyncExitStack() as stack:
        data_dir = stack.enter_context(data_folder(settings.data_dir.expanduser()))
        listener = stack.enter_context(bind(settings.host, settings.port, variable=PORT_VARIABLE))
        signer = load_wallet(settings.wallet_name, settings.wallet_hotkey, settings.wallet_path)
        store, log = open_store(settings, data_dir)
        stack.callback(store.close)
        rescorer = await asyncio.to_thread(open_rescorer, settings)
        chain = await _connected(settings, signer, stack)
        genesis_hash = await chain.genesis_hash()
        store.claim(signer.hotkey, genesis_hash, netuid)
        clock = await HeadClock.started(chain, settings.profile.block_seconds)
        miners = await stack.enter_async_context(_miners(settings, signer))
        schedule = settings.profile.schedule
        ports = Ports(
            chain=chain,
            miners=miners,
            rescorer=rescorer,
            ledger=store,
            clock=clock,
            signer=signer,
            workshop=in_thread,
        )
        story = RoundStory(_judge(settings, signer, genesis_hash), ports)
        follower = Follower(story, clock, schedule, store.unsettled)
        observer = Observer(validator=signer.hotkey, schedule=schedule, store=store)
        watch = Watch(chain, clock, signer.hotkey, schedule)
        sources = Sources(
            status=lambda: observer.at(clock.head.number),
            clock=clock,
            watch=watch,
            store=store,
            miners=miners,
            connection_count=lambda: chain.connection_count,
        )
        app = create_app(log, store, sources.status, metrics=Metrics(sources).scrape)
        working = (clock.follow(), follower.run(), watch.run())
        await run_until(stopping, working, HttpServer(app), listener)


def stopped_by_signals() -> asyncio.Event:
    """An event that SIGTERM and Ctrl-C set."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    return stopping


async def _connected(
    settings: Settings, signer: HotkeySigner, stack: contextlib.AsyncExitStack
) -> SubtensorChain:
    chain = await SubtensorChain.connect(
        endpoint=settings.chain_endpoint, netuid=settings.subnet(), signer=signer
    )
    stack.push_async_callback(chain.close)
    return chain


def _judge(settings: Settings, signer: Signer, genesis_hash: GenesisHash) -> Judge:
    return Judge(
        hotkey=signer.hotkey,
        genesis_hash=genesis_hash,
        netuid=settings.subnet(),
        network=settings.profile,
    )


async def run_until(
    stopping: asyncio.Event,
    work: Sequence[Coroutine[None, None, None]],
    server: HttpServer,
    listener: socket.socket,
) -> None:
    """Follow the chain, play its rounds, watch and serve the log, all until the event."""
    async with asyncio.TaskGroup() as tasks:
        working = [tasks.create_task(each) for each in work]
        tasks.create_task(server.run_on(listener))
        host, port = listener.getsockname()[:2]
        _log.info("validator_ready", host=host, port=port)
        await stopping.wait()
        _log.info("validator_stopping")
        server.stop()
        for task in working:
            task.cancel()


async def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Blocking work, off the event loop."""
    return await asyncio.to_thread(work, *args, **kwargs)


@contextlib.contextmanager
def data_folder(folder: Path) -> Iterator[Path]:
    """The data folder, made if need be, for this process alone.

    Raises:
        ConfigurationError: If it cannot be written, or another validator has it.
    """
    hint = "Choose another one with VALIDATOR_DATA_DIR or --data-dir."
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / _LOCK_NAME).open("w")
    except OSError as error:
        raise ConfigurationError(
            f"cannot write to the data folder {folder}: {error.strerror}", hint=hint
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigurationError(
                f"another validator is running on {folder}", hint=f"End it. {hint}"
            ) from error
        yield folder


def open_store(settings: Settings, data_dir: Path) -> tuple[Store, TransparencyLog]:
    """The database, migrated, and the log in it.

    Raises:
        ConfigurationError: If it cannot be opened.
        StoreError: If it cannot be brought up to date, or is damaged.
    """
    engine = open_engine(database_url(settings.database, data_dir))
    migrate(engine)
    log = TransparencyLog(engine)
    return Store(engine, log), log


def open_rescorer(settings: Settings) -> ModelRescorer:
    """Re-scoring over the models on disk and the network's prompts, all checked.

    Raises:
        WorkloadError: If prompts or a named model are missing or damaged.
    """
    network: Network = settings.profile
    workload = network.workload
    folder = settings.models_dir or cache_dir() / "models"
    models = {}
    for name in settings.models:
        local = resolve_model(name, folder)
        models[str(local.id), local.revision] = ReferenceModel(
            folder=local.folder, weights_digest=local.weights_digest
        )
    return ModelRescorer(
        models=models,
        prompts=load_prompts(workload.prompts, workload.prompt_count, file=settings.prompts_file),
        workload=workload,
        device=settings.device,
        threads=settings.threads,
    )


def _miners(settings: Settings, signer: Signer) -> HttpMiners:
    return HttpMiners(
        signer,
        allow_private=settings.profile.allows_private_addresses,
        timeout_seconds=settings.request_timeout_seconds,
        max_parallel=settings.max_parallel_miners,
    )
