"""The rows of `carbonbench-validator check`: what is here, what is missing, how to mend it."""

import platform

from protocol.chain import Hyperparameters
from protocol.checkup import Row, chain_rows, package_versions, row
from protocol.errors import ChainError, ConfigurationError, WorkloadError
from protocol.http_server import bind
from protocol.ids import Hotkey
from protocol.models import CATALOGUE
from protocol.subtensor import SubtensorChain
from protocol.units import U16_MAX
from protocol.wallet import load_wallet
from validator.database import database_url, migrate, open_engine
from validator.proof import load_thresholds
from validator.running import data_folder, open_rescorer
from validator.settings import PORT_VARIABLE, Settings

_DISTRIBUTIONS = ("torch", "transformers", "bittensor", "sqlalchemy", "fastapi")


async def check_all(settings: Settings) -> tuple[Row, ...]:
    """Every row, in the order in which an operator would mend them."""
    here = [
        row("python", platform.python_version),
        row("packages", lambda: package_versions(_DISTRIBUTIONS, extra="validator")),
        row("prompts and models", lambda: _models(settings)),
        row("thresholds", _thresholds),
        row("wallet", lambda: _load_hotkey(settings)),
        row("data folder", lambda: _data(settings)),
        row("database", lambda: _database(settings)),
        row("port", lambda: _port(settings)),
    ]
    probes = (
        ("hyperparameters", _hyperparameters),
        ("registration", lambda chain: _registered(chain, settings)),
    )
    endpoint = settings.chain_endpoint
    return (*here, *await chain_rows(endpoint, settings.subnet, probes))


def _models(settings: Settings) -> str:
    rescorer = open_rescorer(settings)
    names = [(str(model.id), model.revision) for model in CATALOGUE]
    held = [name for name in names if rescorer.weights_digest(name) is not None]
    if not held:
        raise WorkloadError(
            "no model to re-score with, so no report could be judged",
            hint="Name at least one with VALIDATOR_MODELS or --model.",
        )
    missing = len(names) - len(held)
    shown = ", ".join(model_id for model_id, _ in held)
    return f"{shown}; {missing} of the catalogue are not here, their miners get no verdict"


def _thresholds() -> str:
    thresholds = load_thresholds()
    return f"version {thresholds.version}, {len(thresholds.entries)} models"


def _load_hotkey(settings: Settings) -> Hotkey:
    wallet = load_wallet(settings.wallet_name, settings.wallet_hotkey, settings.wallet_path)
    return wallet.hotkey


def _data(settings: Settings) -> str:
    with data_folder(settings.data_dir.expanduser()) as folder:
        return str(folder)


def _database(settings: Settings) -> str:
    url = database_url(settings.database, settings.data_dir.expanduser())
    engine = open_engine(url)
    try:
        before, after = migrate(engine)
    finally:
        engine.dispose()
    shown = url.render_as_string(hide_password=True)
    if before == after:
        return f"{shown} at revision {after}"
    return f"{shown} brought from revision {before or 'none'} to {after}"


def _port(settings: Settings) -> str:
    with bind(settings.host, settings.port, variable=PORT_VARIABLE) as listener:
        host, port = listener.getsockname()[:2]
        return f"{host} port {port} is free"


async def _hyperparameters(chain: SubtensorChain) -> str:
    found: Hyperparameters = await chain.hyperparameters()
    if found.max_weight_limit_u16 < U16_MAX:
        raise ChainError(
            f"the subnet limits one weight to {found.max_weight_limit_u16} of {U16_MAX}",
            hint="The burned share may exceed that: ask the subnet's owner to lift the limit.",
        )
    hidden = "on" if found.commit_reveal_enabled else "off"
    return (
        f"weights every {found.weights_rate_limit_blocks} blocks at most, at least "
        f"{found.min_allowed_weights}, commit-reveal {hidden}"
    )


async def _registered(chain: SubtensorChain, settings: Settings) -> str:
    hotkey = _load_hotkey(settings)
    metagraph = await chain.metagraph()
    neuron = metagraph.by_hotkey(hotkey)
    if neuron is None:
        raise ConfigurationError(
            f"{hotkey} holds no UID on subnet {metagraph.netuid}",
            hint=f"Register it: carbonbench-validator register {_whose(settings)} --max-cost TAO",
        )
    if not neuron.validator_permit and hotkey != metagraph.owner_hotkey:
        raise ConfigurationError(
            f"UID {neuron.uid} has no validator permit, with {neuron.stake_tao:.0f} TAO of stake",
            hint=f"Add stake: btcli stake add --netuid {metagraph.netuid} "
            f"-w {settings.wallet_name} -H {settings.wallet_hotkey} --amount TAO. "
            "Permits go to the top by stake, at the end of an epoch.",
        )
    return f"UID {neuron.uid}, {neuron.stake_tao:.0f} TAO of stake, validator permit"


def _whose(settings: Settings) -> str:
    return (
        f"--network {settings.network} --netuid {settings.subnet()} "
        f"--wallet {settings.wallet_name} --hotkey {settings.wallet_hotkey}"
    )
