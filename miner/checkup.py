"""The rows of `carbonbench-miner check`: what is here, what is missing, how to mend it."""

import platform

from miner.archive import data_folder
from miner.holdings import hold_all
from miner.meter import open_meter
from miner.reach import knock
from miner.settings import PORT_VARIABLE, Settings, announced_axon
from protocol.checkup import Row, chain_rows, package_versions, row, row_later
from protocol.errors import ConfigurationError
from protocol.http_server import bind
from protocol.ids import Hotkey
from protocol.model_files import cache_dir
from protocol.prompt_sources import load_prompts
from protocol.subtensor import SubtensorChain
from protocol.wallet import load_wallet

_DISTRIBUTIONS = ("torch", "transformers", "bittensor", "nvidia-ml-py")


async def check_all(settings: Settings) -> tuple[Row, ...]:
    """Every row, in the order in which an operator would mend them."""
    here = [
        row("python", platform.python_version),
        row("packages", lambda: package_versions(_DISTRIBUTIONS, extra="miner")),
        row("gpu", lambda: _gpu(settings)),
        row("prompts", lambda: _prompts(settings)),
        row("models", lambda: _models(settings)),
        row("wallet", lambda: _hotkey(settings)),
        row("data folder", lambda: _data(settings)),
        row("port", lambda: _port(settings)),
        row("axon", lambda: _axon(settings)),
        await row_later("reach", _reach(settings)),
    ]
    probes = (("registration", lambda chain: _registered(chain, settings)),)
    endpoint = settings.chain_endpoint
    return (*here, *await chain_rows(endpoint, settings.subnet, probes))


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
    with bind(settings.host, settings.port, variable=PORT_VARIABLE) as listener:
        host, port = listener.getsockname()[:2]
        return f"{host} port {port} is free"


def _axon(settings: Settings) -> str:
    axon = announced_axon(settings, settings.port)
    return f"announced as {axon.ip} port {axon.port}"


async def _reach(settings: Settings) -> str:
    """Words only: a miss proves nothing, see `miner.reach`."""
    with bind(settings.host, settings.port, variable=PORT_VARIABLE) as listener:
        axon = announced_axon(settings, listener.getsockname()[1])
        trouble = await knock(axon, listener)
    return trouble or f"a connection to {axon.ip} port {axon.port} arrives here"


async def _registered(chain: SubtensorChain, settings: Settings) -> str:
    hotkey = _load_hotkey(settings)
    metagraph = await chain.metagraph()
    neuron = metagraph.by_hotkey(hotkey)
    if neuron is None:
        raise ConfigurationError(
            f"hotkey {hotkey} holds no UID on subnet {metagraph.netuid}",
            hint=f"Register it, where its coldkey is: carbonbench-miner register --network "
            f"{settings.network} --netuid {metagraph.netuid} --wallet {settings.wallet_name} "
            f"--hotkey {settings.wallet_hotkey} --max-cost TAO",
        )
    return f"UID {neuron.uid} on subnet {metagraph.netuid}"
