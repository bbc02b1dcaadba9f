"""What an operator can set: `VALIDATOR_*` in the environment or in `validator.env`.

Nothing on which the network must agree is here: that is in `protocol.constants` and in the
network's profile (`protocol.networks`).
"""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from protocol.errors import ConfigurationError
from protocol.ids import Netuid
from protocol.networks import Network, network_named
from protocol.options import CommaSeparated, Port

PREFIX = "VALIDATOR_"
PORT_VARIABLE = f"{PREFIX}PORT"
ENV_FILE = Path("validator.env")

_HINT = "All settings are in validator.env.example, with their meaning."


class Settings(BaseSettings):
    """The validator's settings."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=ENV_FILE,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        populate_by_name=True,
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
    """Models to re-score with, comma-separated: folders, or names of the catalogue."""
    models_dir: Path | None = None
    """Folder that holds fetched models; the cache folder by default."""
    device: str = "cpu"
    """Torch device for re-scoring: cpu, cuda:0, or auto (layers over all GPUs)."""
    threads: Annotated[int, Field(ge=1)] | None = None
    """CPU threads for re-scoring; torch's own choice by default."""
    prompts_file: Path | None = None
    """File with the 1,000 AI Energy Score texts; looked for elsewhere by default."""

    host: str = "127.0.0.1"
    """Address of the public, read-only log server."""
    port: Port = 8092
    """Port of the log server; 0 takes any free one."""

    data_dir: Path = Path("~/.carbonbench/validator")
    """Folder of the database and the lock."""
    database_url: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("VALIDATOR_DATABASE_URL", "DATABASE_URL")
    )
    """PostgreSQL or SQLite URL (also DATABASE_URL); a SQLite file in `data_dir` by default."""

    max_parallel_miners: Annotated[int, Field(ge=1, le=1024)] = 64
    """Requests to miners under way at once."""
    request_timeout_seconds: Annotated[float, Field(gt=0, le=120)] = 10.0
    """Longest that a miner may take for one answer."""
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

    @property
    def database(self) -> str | None:
        """The database's URL, password included; None for the default."""
        return self.database_url.get_secret_value() if self.database_url else None


def load_settings(overrides: dict[str, object]) -> Settings:
    """The settings from the environment and `validator.env`, under the command line's options.

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
            hint="Name it with VALIDATOR_NETUID or --netuid.",
        )
    return netuid


def unknown_variables() -> tuple[str, ...]:
    """`VALIDATOR_*` variables of the environment that are no settings: typing errors, mostly."""
    known = {_variable(name) for name in Settings.model_fields}
    found = (name for name in os.environ if name.startswith(PREFIX))
    return tuple(sorted(name for name in found if name not in known))


def _variable(name: str) -> str:
    return name.upper() if name.upper().startswith(PREFIX) else f"{PREFIX}{name.upper()}"
