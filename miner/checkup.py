"""The rows of `carbonbench-miner check`: what is here, what is missing, how to mend it."""

import importlib.metadata
import platform
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from miner.archive import data_folder
from miner.holdings import hold_all
from miner.meter import open_meter
from miner.server import bind
from miner.settings import Settings, announced_axon, subnet_of
from protocol.errors import ChainError, ConfigurationError, Error
from protocol.ids import Hotkey
from protocol.model_files import cache_dir
from protocol.prompt_sources import load_prompts
from protocol.subtensor import SubtensorChain
from protocol.wallet import load_wallet

_DISTRIBUTIONS = ("torch", "transformers", "bittensor", "nvidia-ml-py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One thing that a miner needs."""

    what: str
    ok: bool
    detail: str
    hint: str = ""


async def check_all(settings: Settings) -> tuple[Row, ...]:
    """Every row, in the order in which an operator would mend them."""
    here = [
        _row("python", platform.python_version),
        _row("packages", _packages),
        _row("gpu", lambda: _gpu(settings)),
        _row("prompts", lambda: _prompts(settings)),
        _row("models", lambda: _models(settings)),
        _row("wallet", lambda: _hotkey(settings)),
        _row("data folder", lambda: _data(settings)),
        _row("port", lambda: _port(settings)),
        _row("axon", lambda: _axon(settings)),
    ]
    return (*here, *await _chain_rows(settings))


def _row(what: str, probe: Callable[[], str]) -> Row:
    try:
        return Row(what=what, ok=True, detail=probe())
    except Error as error:
        return Row(what=what, ok=False, detail=str(error), hint=error.hint)


async def _row_later(what: str, probe: Awaitable[str]) -> Row:
    try:
        return Row(what=what, ok=True, detail=await probe)
    except Error as error:
        return Row(what=what, ok=False, detail=str(error), hint=error.hint)


def _packages() -> str:
    try:
        versions = [f"{name} {importlib.metadata.version(name)}" for name in _DISTRIBUTIONS]
    except importlib.metadata.PackageNotFoundError as error:
        raise ConfigurationError(
            f"the distribution {error.name} is missing",
            hint="Install the miner's parts: pip install 'carbonbench[miner]'",
        ) from error
    return ", ".join(versions)


def _gpu(settings: Settings) -> str:
    with open_meter(settings.gpus) as meter:
        if meter.is_simulated and not settings.profile.accepts_simulated:
            raise ConfigurationError(
                f"a simulated GPU is refused on the network {settings.network!r}",
                hint="Only devnet takes figures of simulated devices.",
            )
        names = ", ".join(f"{device.name} ({device.uuid})" for device in meter.devices)
        return f"{names}; driver {meter.driver.driver_version}"


def _prompts(settings: Settings) -> str:
    workload = settings.profile.workload
    load_prompts(workload.prompts, workload.prompt_count, file=settings.prompts_file)
    return f"{workload.prompt_count} of {workload.prompts}"


def _models(settings: Settings) -> str:
    folder = settings.models_dir or cache_dir() / "models"
    held = hold_all(settings.models, folder, "bfloat16")
    return ", ".join(f"{model.ref.id} ({model.ref.weights_digest[:12]})" for model in held)


def _hotkey(settings: Settings) -> str:
    return _load_hotkey(settings)


def _load_hotkey(settings: Settings) -> Hotkey:
    wallet = load_wallet(settings.wallet_name, settings.wallet_hotkey, settings.wallet_path)
    return wallet.hotkey


def _data(settings: Settings) -> str:
    with data_folder(settings.data_dir.expanduser()) as folder:
        return str(folder)


def _port(settings: Settings) -> str:
    with bind(settings.host, settings.port) as listener:
        host, port = listener.getsockname()[:2]
        return f"{host} port {port} is free"


def _axon(settings: Settings) -> str:
    axon = announced_axon(settings, settings.port)
    return f"announced as {axon.ip} port {axon.port}"


async def _chain_rows(settings: Settings) -> list[Row]:
    try:
        netuid = subnet_of(settings)
        chain = await SubtensorChain.connect(
            endpoint=settings.chain_endpoint, netuid=netuid, signer=None
        )
    except Error as error:
        return [Row(what="chain", ok=False, detail=str(error), hint=error.hint)]
    try:
        return [
            await _row_later("chain", _reached(chain, settings)),
            await _row_later("chain calls", _compatible(chain)),
            await _row_later("registration", _registered(chain, settings)),
        ]
    finally:
        await chain.close()


async def _reached(chain: SubtensorChain, settings: Settings) -> str:
    head = await chain.head()
    return f"{settings.chain_endpoint} at block {head.number}"


async def _compatible(chain: SubtensorChain) -> str:
    probes = await chain.compatibility()
    failed = [probe for probe in probes if not probe.ok]
    if failed:
        raise ChainError(
            f"{failed[0].name}: {failed[0].detail}",
            hint="Upgrade carbonbench and the chain SDK: pip install --upgrade carbonbench",
        )
    return f"all {len(probes)} that are used"


async def _registered(chain: SubtensorChain, settings: Settings) -> str:
    hotkey = _load_hotkey(settings)
    metagraph = await chain.metagraph()
    neuron = metagraph.by_hotkey(hotkey)
    if neuron is None:
        raise ConfigurationError(
            f"hotkey {hotkey} holds no UID on subnet {metagraph.netuid}",
            hint="Register it with btcli (once; it costs a fee).",
        )
    return f"UID {neuron.uid} on subnet {metagraph.netuid}"
