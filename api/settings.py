"""The API's settings: environment variables `API_*`, read once by `api.cli`.

Also read from `api.env` in the working directory. `DATABASE_URL` is shared with other tools
and has no prefix.
"""

from pathlib import Path
from typing import Annotated

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

Url = Annotated[str, Field(pattern=r"^https?://[^\s]+$", max_length=500)]
Port = Annotated[int, Field(ge=0, lt=65536)]


class LogSetting(BaseModel):
    """A validator's log to follow."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Url
    """Base URL of the validator's server."""
    hotkey: Annotated[str, Field(pattern=r"^[1-9A-HJ-NP-Za-km-z]{46,49}$")] | None = None
    """Who must have signed; without it the first signer is trusted and held to."""
    stake: Annotated[float, Field(gt=0)] = 1.0
    """Weight of this validator where several are merged."""


class Settings(BaseSettings):
    """All settings of the API."""

    model_config = SettingsConfigDict(
        env_prefix="API_",
        env_file="api.env",
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
    )

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Port = 8080
    """Port to listen on; 0 picks a free one."""
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes that answer on the port; one for each core that they may have."""
    data_dir: Path = Path.home() / ".carbonbench" / "api"
    """Where the SQLite database lives."""
    database_url: str | None = Field(
        default=None, validation_alias=AliasChoices("API_DATABASE_URL", "DATABASE_URL")
    )
    """SQLAlchemy URL of the database; SQLite under the data directory by default."""
    validator_logs: tuple[LogSetting, ...] = ()
    """Logs to follow, as JSON: a list of URLs, or of {"url", "hotkey", "stake"}."""
    refresh_seconds: Annotated[float, Field(ge=0.5, le=86_400)] = 300.0
    """Time between two refreshes."""
    max_age_seconds: Annotated[float, Field(gt=0)] = 7_200.0
    """Age of the newest successful refresh from which `/readyz` fails."""
    requests_per_minute: Annotated[float, Field(ge=0, le=1e9)] = 600.0
    """Requests a minute from one address without a key; 0 for any number."""
    trusted_proxies: Annotated[int, Field(ge=0, le=10)] = 0
    """Own proxies in front, whose `X-Forwarded-For` entries are believed."""

    electricity_maps_token: SecretStr | None = None
    """Token of Electricity Maps v3; without it the offline curves stand."""
    electricity_maps_url: Url = "https://api.electricitymaps.com"
    """Base URL of Electricity Maps."""
    watttime_user: str | None = None
    """User of WattTime v3, for the marginal signal."""
    watttime_password: SecretStr | None = None
    """Password of WattTime v3."""
    watttime_url: Url = "https://api.watttime.org"
    """Base URL of WattTime."""
    eia_key: SecretStr | None = None
    """Key of the EIA's open data, for generation in the United States."""
    eia_url: Url = "https://api.eia.gov"
    """Base URL of the EIA."""
    entso_e_token: SecretStr | None = None
    """Security token of the ENTSO-E Transparency Platform, for generation in Europe."""
    entso_e_url: Url = "https://web-api.tp.entsoe.eu"
    """Base URL of the ENTSO-E Transparency Platform."""
    great_britain: bool = False
    """Whether GB Carbon Intensity is asked; it needs no key."""
    great_britain_url: Url = "https://api.carbonintensity.org.uk"
    """Base URL of GB Carbon Intensity."""

    @field_validator("validator_logs", mode="before")
    @classmethod
    def _plain_urls(cls, value: object) -> object:
        """A plain URL stands for a log without an expected hotkey."""
        if isinstance(value, list):
            return [{"url": item} if isinstance(item, str) else item for item in value]
        return value
