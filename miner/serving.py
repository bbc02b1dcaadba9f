"""One running miner, put together from its settings: `carbonbench-miner serve`."""

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import structlog

from miner.archive import FileArchive, data_folder, rounds_folder
from miner.engine import PromptEngine, choose_device, choose_dtype
from miner.engines import build_engine
from miner.gpu_lock import lock_folder, locked_gpus
from miner.holdings import hold_all
from miner.meter import open_meter
from miner.metrics import Metrics
from miner.ports import Ports
from miner.reach import refuse_twin, trouble_at
from miner.reporting import Identity
from miner.round_meter import RoundMeter, refuse_unmetered
from miner.server import MAX_BODY_BYTES, MAX_CONNECTIONS, create_app
from miner.session import Session
from miner.settings import PORT_VARIABLE, Settings, announced_axon
from miner.standing import Standing
from miner.visits import Visits
from protocol.auth import RequestVerifier
from protocol.http_server import HttpServer, bind
from protocol.ids import Hotkey
from protocol.model_files import cache_dir
from protocol.nonce_store import SqliteNonceStore
from protocol.prompt_sources import load_prompts
from protocol.subtensor import SubtensorChain
from protocol.wallet import load_wallet

_log = structlog.get_logger("miner")


async def serve(settings: Settings) -> None:
    """Put one miner together and run it until it is told to stop."""
    stopping = _stop_signals()
    netuid = settings.subnet()
    async with contextlib.AsyncExitStack() as stack:
        listener = stack.enter_context(bind(settings.host, settings.port, variable=PORT_VARIABLE))
        axon = announced_axon(settings, listener.getsockname()[1])
        folder = stack.enter_context(data_folder(settings.data_dir.expanduser()))
        signer = load_wallet(settings.wallet_name, settings.wallet_hotkey, settings.wallet_path)
        engine = open_engine(settings)
        meter = stack.enter_context(open_round_meter(settings, engine))
        chain = await SubtensorChain.connect(
            endpoint=settings.chain_endpoint, netuid=netuid, signer=signer
        )
        stack.push_async_callback(chain.close)
        identity = Identity(
            genesis_hash=await chain.genesis_hash(), netuid=netuid, hotkey=signer.hotkey
        )
        archive = FileArchive(folder / rounds_folder(identity), keep_rounds=settings.keep_rounds)
        visits = Visits()
        metrics = Metrics(visits)
        ports = Ports(
            chain=chain,
            signer=signer,
            engine=engine,
            meter=meter,
            archive=archive,
            pause=asyncio.sleep,
            monotonic=time.monotonic_ns,
            tell=metrics.tell,
        )
        session = Session(
            identity=identity,
            network=settings.profile,
            machine=meter.machine(engine.name),
            axon=axon,
            ports=ports,
        )
        await refuse_twin(chain, axon, signer.hotkey)
        await session.begin()
        logs = settings.validator_logs
        standing = Standing(session=session, visits=visits, metrics=metrics, log_urls=logs)
        verifier = stack.enter_context(_verifier(folder, signer.hotkey))
        app = create_app(standing, archive, verifier, stake_floor_tao=settings.stake_floor_tao)
        await run_until(
            stopping, standing, HttpServer(app, max_connections=MAX_CONNECTIONS), listener
        )


def _stop_signals() -> asyncio.Event:
    """Set by SIGTERM and Ctrl-C."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    return stopping


@contextlib.contextmanager
def _verifier(folder: Path, hotkey: Hotkey) -> Iterator[RequestVerifier]:
    """Who asks is proven against a memory that outlives this process."""
    with SqliteNonceStore(folder / "requests.sqlite3") as nonces:
        yield RequestVerifier(self_hotkey=hotkey, nonces=nonces, max_body_bytes=MAX_BODY_BYTES)


def open_engine(settings: Settings) -> PromptEngine:
    """The engine over the offered models and the network's prompts, both checked."""
    device = choose_device(settings.device)
    workload = settings.profile.workload
    texts = load_prompts(workload.prompts, workload.prompt_count, file=settings.prompts_file)
    held = hold_all(
        settings.models,
        settings.models_dir or cache_dir() / "models",
        choose_dtype(settings.dtype, device),
    )
    return build_engine(
        settings.engine,
        held=held,
        prompts=lambda _workload: texts,
        device=device,
        threads=settings.threads,
        sketch=settings.sketch,
    )


@contextlib.contextmanager
def open_round_meter(settings: Settings, engine: PromptEngine) -> Iterator[RoundMeter]:
    """NVML over the GPUs that the engine computes on, for this process alone."""
    with open_meter(settings.gpus) as meter:
        refuse_unmetered(meter, engine.device)
        with locked_gpus([device.uuid for device in meter.devices], lock_folder(settings.lock_dir)):
            yield RoundMeter(meter)


async def run_until(
    stopping: asyncio.Event,
    standing: Standing,
    server: HttpServer,
    listener: socket.socket,
) -> None:
    """Follow the chain, serve, and read what validators say, all until the event."""
    session = standing.session
    async with asyncio.TaskGroup() as tasks:
        working = [
            tasks.create_task(session.follow()),
            tasks.create_task(standing.follow_logs(asyncio.sleep)),
            tasks.create_task(_say_if_unreachable(session)),
        ]
        tasks.create_task(server.run_on(listener))
        host, port = listener.getsockname()[:2]
        _log.info("miner_ready", hotkey=session.identity.hotkey, host=host, port=port)
        await stopping.wait()
        _log.info("miner_stopping", state=session.state)
        session.stop()
        server.stop()
        for task in working:
            task.cancel()


async def _say_if_unreachable(session: Session) -> None:
    trouble = await trouble_at(session.axon, session.identity.hotkey)
    if trouble:
        _log.warning("axon_unreachable", detail=trouble)
