"""What every node on the chain can be set to: the base of the miner's and validator's settings.

A role's class adds its own fields and names its prefix and file in `model_config`. Nothing on
which the network must agree is here: that is in `protocol.constants` and in the network's
profile (`protocol.networks`).
"""

import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from protocol.errors import ConfigurationError
from protocol.ids import Netuid
from protocol.networks import Network, network_named


def read_from(prefix: str, env_file: str) -> SettingsConfigDict:
    """The configuration of a role's settings: strict, frozen, told by its docstrings.

    Args:
        prefix: Of its variables, `MINER_` for one.
        env_file: File in the working directory that is read too; the environment wins.
    """
    return SettingsConfigDict(
        env_prefix=prefix,
        env_file=env_file,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        populate_by_name=True,
        use_attribute_docstrings=True,
        validate_default=True,
    )


class NodeSettings(BaseSettings):
    """Network and wallet, and how settings are read."""

    model_config = SettingsConfigDict(use_attribute_docstrings=True)

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

    @classmethod
    def load(cls, overrides: dict[str, object]) -> Self:
        """The settings from the environment and the file, under the command line's options.

        Args:
            overrides: Options given on the command line; None means not given.

        Raises:
            ConfigurationError: If a value is not allowed or the file names an unknown setting.
        """
        given = {name: value for name, value in overrides.items() if value is not None}
        hint = f"All settings are in {cls._file()}.example, with their meaning."
        try:
            return cls(**given)  # type: ignore[arg-type]  # pydantic checks each value
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            name = cls.variable(str(first["loc"][0]) if first["loc"] else "")
            raise ConfigurationError(f"setting {name}: {first['msg']}", hint=hint) from error
        except SettingsError as error:
            raise ConfigurationError(f"settings: {error}", hint=hint) from error

    @property
    def profile(self) -> Network:
        """The network's profile."""
        return network_named(self.network)

    @property
    def chain_endpoint(self) -> str:
        """Where the chain is reached."""
        return self.endpoint or self.profile.endpoint

    def subnet(self) -> Netuid:
        """The subnet: the operator's, else the network's.

        Raises:
            ConfigurationError: If neither names one.
        """
        netuid = self.profile.netuid if self.netuid is None else Netuid(self.netuid)
        if netuid is None:
            raise ConfigurationError(
                f"the network {self.network!r} has no subnet of its own yet",
                hint=f"Name it with {self.variable('netuid')} or --netuid.",
            )
        return netuid

    @classmethod
    def variable(cls, name: str) -> str:
        """The environment variable of a setting."""
        prefix = cls.model_config["env_prefix"]
        return name.upper() if name.upper().startswith(prefix) else f"{prefix}{name.upper()}"

    @classmethod
    def unknown_variables(cls) -> tuple[str, ...]:
        """Variables of the environment with the prefix that are no settings: typing errors."""
        known = {cls.variable(name) for name in cls.model_fields}
        found = (name for name in os.environ if name.startswith(cls.model_config["env_prefix"]))
        return tuple(sorted(name for name in found if name not in known))

    @classmethod
    def example_file(cls) -> str:
        """The file with every setting, its meaning and its default, all commented out."""
        file = cls._file()
        program = f"carbonbench-{file.removesuffix('.env')}"
        parts = [f"# Settings of {program}: copy to {file} and change what you need."]
        for name, field in cls.model_fields.items():
            shown = _shown(field.default)
            parts.append(f"# {field.description}\n# {cls.variable(name)}={shown}")
        return "\n\n".join(parts) + "\n"

    @classmethod
    def _file(cls) -> str:
        return str(cls.model_config["env_file"])


def _shown(default: object) -> str:
    if default is None:
        return ""
    if isinstance(default, tuple):
        return ",".join(str(part) for part in default)
    return str(default)
