"""What an operator can set: `MINER_*` in the environment or in `miner.env`."""

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import NoDecode

from protocol.chain import Axon
from protocol.errors import ConfigurationError
from protocol.node_settings import NodeSettings, read_from
from protocol.options import CommaSeparated, Port

PREFIX = "MINER_"
PORT_VARIABLE = f"{PREFIX}PORT"


class Settings(NodeSettings):
    """The miner's settings."""

    model_config = read_from(PREFIX, "miner.env")

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
