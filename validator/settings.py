"""What an operator can set: `VALIDATOR_*` in the environment or in `validator.env`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import NoDecode

from protocol.node_settings import NodeSettings, read_from
from protocol.options import CommaSeparated, Port

PREFIX = "VALIDATOR_"
PORT_VARIABLE = f"{PREFIX}PORT"


class Settings(NodeSettings):
    """The validator's settings."""

    model_config = read_from(PREFIX, "validator.env")

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
    def database(self) -> str | None:
        """The database's URL, password included; None for the default."""
        return self.database_url.get_secret_value() if self.database_url else None
