"""What an operator can set: `MINER_*` in the environment or in `miner.env`.

Nothing on which the network must agree is here: that is in `protocol.constants` and in the
network's profile (`protocol.networks`).
"""

import os
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from protocol.chain import Axon
from protocol.errors import ConfigurationError
from protocol.ids import Netuid
from protocol.networks import Network, network_named
from protocol.options import CommaSeparated, Port

PREFIX = "MINER_"
PORT_VARIABLE = f"{PREFIX}PORT"
ENV_FILE = Path("miner.env")

_HINT = "All settings are in miner.env.example, with their meaning."


class Settings(BaseSettings):
    """The miner's settings."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=ENV_FILE,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        validate_default=True,
    )

    network: Literal["devnet", "test", "finney"] = "test"
    """Network profile: devnet, test or finney."""
    endpoint: str | None = None
    """Websocket URL of a chain node; the network's own by default."""
    netuid: Annotated[int, Field(ge=0, lt=2**16)] | None = None
    """Subnet; needed where the network's profile names none."""

    wallet_name: str = "default"
    """Wallet whose hotkey signs. Only the hotkey has to be on this machine."""
    wallet_hotkey: str = "default"
    """Name of the hotkey."""
    wallet_path: Path = Path("~/.bittensor/wallets")
    """Folder of wallets."""

    models: Annotated[tuple[str, ...], NoDecode, CommaSeparated] = ()
    """Models to offer, comma-separated: folders, or names of the catalogue."""
    models_dir: Path | None = None
    """Folder that holds fetched models; the cache folder by default."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format: auto is bfloat16 on a GPU and float32 on a CPU."""
    engine: Literal["transformers", "vllm"] = "transformers"
    """Inference engine; figures of two engines never mix. vllm has to be installed."""
    sketch: bool = True
    """Whether reports carry sketches of hidden states: better evidence, a higher score."""
    device: str = "auto"
    """Torch device: cpu, cuda:0, spread (layers over all GPUs), or auto: the first GPU if any."""
    threads: Annotated[int, Field(ge=1)] | None = None
    """CPU threads of the model; torch's own choice by default."""
    prompts_file: Path | None = None
    """File with the 1,000 AI Energy Score texts; looked for elsewhere by default."""
    gpus: Annotated[tuple[int, ...] | None, NoDecode, CommaSeparated] = None
    """NVML indices of the metered GPUs, comma-separated; all that CUDA shows by default."""

    host: str = "0.0.0.0"  # noqa: S104 - validators call from outside
    """Address to serve on."""
    port: Port = 8091
    """Port to serve on; 0 takes any free one."""
    axon_ip: str | None = None
    """Public address to announce on chain; needed unless `host` is one."""
    axon_port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    """Public port to announce, if it is not `port`."""
    stake_floor_tao: Annotated[float, Field(ge=0)] = 0.0
    """Least stake of a validator that is answered (TAO)."""
    validator_logs: Annotated[tuple[str, ...], NoDecode, CommaSeparated] = ()
    """Validators' logs to read verdicts from, comma-separated URLs, beside those on chain."""

    data_dir: Path = Path("~/.carbonbench/miner")
    """Folder of reports and commitments."""
    lock_dir: Path | None = None
    """Folder of the locks that keep two miners off one GPU; /run/lock by default."""
    keep_rounds: Annotated[int, Field(ge=2)] = 200
    """Rounds whose reports are kept; about 0.3 MB each."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least level that is logged."""

    @property
    def profile(self) -> Network:
        """The network's profile."""
        return network_named(self.network)

    @property
    def chain_endpoint(self) -> str:
        """Where the chain is reached."""
        return self.endpoint or self.profile.endpoint


def load_settings(overrides: dict[str, object]) -> Settings:
    """The settings from the environment and `miner.env`, under the command line's options.

    Args:
        overrides: Options given on the command line; None means not given.

    Raises:
        ConfigurationError: If a value is not allowed or the file names an unknown setting.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]  # pydantic checks each value
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        raise ConfigurationError(
            f"setting {_variable(name)}: {first['msg']}", hint=_HINT
        ) from error
    except SettingsError as error:
        raise ConfigurationError(f"settings: {error}", hint=_HINT) from error


def subnet_of(settings: Settings) -> Netuid:
    """The subnet: the operator's, else the network's.

    Raises:
        ConfigurationError: If neither names one.
    """
    netuid = settings.profile.netuid if settings.netuid is None else Netuid(settings.netuid)
    if netuid is None:
        raise ConfigurationError(
            f"the network {settings.network!r} has no subnet of its own yet",
            hint="Name it with MINER_NETUID or --netuid.",
        )
    return netuid


def announced_axon(settings: Settings, port: int) -> Axon:
    """What is put on chain: where validators find this miner.

    Args:
        settings: The settings.
        port: The port that is really served on.

    Raises:
        ConfigurationError: If there is no address that validators could call.
    """
    ip = settings.axon_ip or settings.host
    try:
        address = ip_address(ip)
    except ValueError:
        address = None
    private_allowed = settings.profile.allows_private_addresses
    if address is None or address.is_unspecified or not (address.is_global or private_allowed):
        raise ConfigurationError(
            f"validators cannot call this miner at {ip}",
            hint="Give the public address of this machine with MINER_AXON_IP or --axon-ip.",
        )
    return Axon(ip=ip, port=settings.axon_port or port)


def example_file() -> str:
    """A `miner.env` with every setting, its meaning and its default, all commented out."""
    parts = ["# Settings of carbonbench-miner: copy to miner.env and change what you need."]
    for name, field in Settings.model_fields.items():
        default = field.default
        if default is None or default == ():
            shown = ""
        elif isinstance(default, tuple):
            shown = ",".join(str(part) for part in default)
        else:
            shown = str(default)
        parts.append(f"# {field.description}\n# {_variable(name)}={shown}")
    return "\n\n".join(parts) + "\n"


def unknown_variables() -> tuple[str, ...]:
    """`MINER_*` variables of the environment that are no settings: most likely typing errors."""
    known = {_variable(name) for name in Settings.model_fields}
    found = (name for name in os.environ if name.startswith(PREFIX))
    return tuple(sorted(name for name in found if name not in known))


def _variable(name: str) -> str:
    return name.upper() if name.upper().startswith(PREFIX) else f"{PREFIX}{name.upper()}"
