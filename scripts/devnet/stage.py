"""The demo's running parts, and what can be asked of them over HTTP."""

import asyncio
import contextlib
import json
import shutil
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from protocol.ids import BlockNumber, Hotkey, RoundNumber
from protocol.networks import DEVNET
from protocol.rounds import Phase
from protocol.wallet import create_dev_wallet
from scripts.devnet.cast import CAST, VALIDATOR, Part
from scripts.devnet.chain.control import DevnetControl
from scripts.devnet.processes import ChildError, Fleet, Program, free_port

_POLL_SECONDS = 0.2
_READY_SECONDS = 120.0
_REQUEST_SECONDS = 10.0
_VALIDATOR_STAKE_TAO = 10_000
_HYPERPARAMETERS = {"WeightsSetRateLimit": 20, "ServingRateLimit": 0}
_HOTKEY_NAME = "hot"

TORCH_ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
"""Waiting threads sleep: five miners share two cores, and a spinning thread starves the rest."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Miner:
    """One miner that runs."""

    part: Part
    hotkey: Hotkey
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Everything that runs, and where."""

    fleet: Fleet
    control: DevnetControl
    http: httpx.AsyncClient
    endpoint: str
    validator_hotkey: Hotkey
    validator_url: str
    miners: tuple[Miner, ...]
    api_url: str

    async def block(self) -> BlockNumber:
        """Number of the newest block."""
        return BlockNumber((await self.control.head()).number)

    async def mine_to(self, block: int) -> None:
        """Have the chain make blocks up to this number at once, if it is not there yet."""
        missing = block - await self.block()
        if missing > 0:
            await self.control.mine(missing)

    async def until(self, number: RoundNumber, what: str, wanted: int, say: Say) -> None:
        """Wait until the validator counts `wanted` of something, or the phase for it is over."""
        phase, shown = DEVNET.schedule.phase, -1
        awaited = Phase.MEASURING if what == "committed" else Phase.REVEALING
        while True:
            self.fleet.check_alive()
            status = await self.validator_status()
            count = int(status[what]) if status["round"] == number else 0
            if count > shown:
                say(f"round {number}: {count} of {wanted} {what}")
                shown = count
            block = await self.block()
            over = DEVNET.schedule.round_at(block) != number or phase(block) is not awaited
            if count >= wanted or (over and phase(block) is not Phase.SEALED):
                return
            await asyncio.sleep(_POLL_SECONDS)

    async def until_scored(self, number: RoundNumber) -> None:
        """Wait until the validator has scored a round and its weights are on chain."""
        while True:
            self.fleet.check_alive()
            status = await self.validator_status()
            scored = status["last_scored_round"] or 0
            set_at = status["last_weights_block"] or 0
            if scored >= number and set_at >= DEVNET.schedule.start(number):
                return
            await asyncio.sleep(_POLL_SECONDS)

    async def api_has_round(self) -> None:
        """Wait until the API has taken in what the validator's log holds."""
        size = (await self.validator_status())["log_size"]
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline:
            self.fleet.check_alive()
            answer = await self.get(f"{self.api_url}/api/v1/leaderboard", regime="single", limit=1)
            logs = [source for source in answer["meta"]["sources"] if source["kind"] == "log"]
            if any((log["entries"] or 0) >= size for log in logs):
                return
            await asyncio.sleep(_POLL_SECONDS)
        raise ChildError("the API did not take in the validator's log")

    async def validator_status(self) -> dict[str, Any]:
        """The validator's `/v1/status`."""
        return await self._json(f"{self.validator_url}/v1/status")

    async def get(self, url: str, **parameters: str | int) -> dict[str, Any]:
        """A JSON answer of one of the parts."""
        return await self._json(url, parameters)

    async def _json(
        self, url: str, parameters: Mapping[str, str | int] | None = None
    ) -> dict[str, Any]:
        try:
            answer = await self.http.get(url, params=parameters)
            return dict(answer.json())
        except (httpx.HTTPError, ValueError) as error:
            self.fleet.check_alive()
            raise ChildError(f"no answer from {url}: {error!r}") from error


@contextlib.asynccontextmanager
async def open_stage(
    fleet: Fleet, folder: Path, *, model: Path, api_port: int
) -> AsyncIterator[Stage]:
    """Start every part with empty data, and wait until all are ready.

    The chain stands at the first block of round 1 meanwhile: whoever is up begins to measure.
    """
    for old in ("chain.json", "wallets", "validator", "api", *(part.name for part in CAST)):
        _remove(folder / old)
    endpoint = await _start_chain(fleet, folder)
    async with (
        DevnetControl(endpoint, netuid=int(DEVNET.netuid or 0)) as control,
        httpx.AsyncClient(timeout=_REQUEST_SECONDS, trust_env=False) as http,
    ):
        await control.mine(DEVNET.schedule.round_blocks)
        validator = await _register(control, folder, VALIDATOR, stake_tao=_VALIDATOR_STAKE_TAO)
        hotkeys = {part.name: await _register(control, folder, part.name) for part in CAST}
        common = {"NETWORK": DEVNET.name, "ENDPOINT": endpoint}
        miners = tuple(
            [
                await _start_miner(fleet, folder, part, hotkeys[part.name], model, common)
                for part in CAST
            ]
        )
        validator_url = await _start_validator(fleet, folder, model, common)
        api_url = await _start_api(fleet, folder, validator_url, validator, api_port)
        stage = Stage(
            fleet=fleet,
            control=control,
            http=http,
            endpoint=endpoint,
            validator_hotkey=validator,
            validator_url=validator_url,
            miners=miners,
            api_url=api_url,
        )
        for url in (*(miner.url for miner in miners), validator_url, api_url):
            await _until_healthy(stage, url)
        await control.set_block_seconds(DEVNET.block_seconds)
        yield stage


async def _start_chain(fleet: Fleet, folder: Path) -> str:
    """Start the chain with its clock stopped: it makes a block for each extrinsic alone."""
    ready_file = folder / "chain.json"
    options = [
        f"--set={name}={json.dumps(value)}" for name, value in sorted(_HYPERPARAMETERS.items())
    ]
    options += ["--port=0", "--block-seconds=0", f"--ready-file={ready_file}"]
    await fleet.start("chain", Program(module="scripts.devnet.chain", arguments=options))
    while not ready_file.exists():
        fleet.check_alive()
        await asyncio.sleep(_POLL_SECONDS)
    return str(json.loads(ready_file.read_text())["endpoint"])


async def _register(
    control: DevnetControl, folder: Path, name: str, *, stake_tao: int = 0
) -> Hotkey:
    """Make a wallet and give it a UID; with stake, a validator's."""
    signer = create_dev_wallet(name, _HOTKEY_NAME, folder / "wallets", uri=f"//{name}")
    if signer.coldkey is None:
        raise ChildError(f"the wallet {name} has no coldkey")
    await control.register(
        signer.hotkey, signer.coldkey, stake_tao=stake_tao, permit=bool(stake_tao)
    )
    return signer.hotkey


async def _start_miner(
    fleet: Fleet, folder: Path, part: Part, hotkey: Hotkey, model: Path, common: Mapping[str, str]
) -> Miner:
    port = free_port()
    settings = {
        **common,
        **_wallet(folder, part.name),
        "MODELS": str(model),
        "DTYPE": "float32",
        "DEVICE": "cpu",
        "THREADS": "1",
        "HOST": "127.0.0.1",
        "AXON_IP": "127.0.0.1",
        "PORT": str(port),
        "DATA_DIR": str(folder / part.name),
        "LOCK_DIR": str(folder / "locks"),
    }
    environment = _prefixed("MINER_", settings) | part.environment() | TORCH_ENVIRONMENT
    program = Program(module=part.module, arguments=("serve",), environment=environment)
    await fleet.start(part.name, program)
    return Miner(part=part, hotkey=hotkey, url=f"http://127.0.0.1:{port}")


async def _start_validator(
    fleet: Fleet, folder: Path, model: Path, common: Mapping[str, str]
) -> str:
    port = free_port()
    settings = {
        **common,
        **_wallet(folder, VALIDATOR),
        "MODELS": str(model),
        "THREADS": "2",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "DATA_DIR": str(folder / "validator"),
    }
    environment = _prefixed("VALIDATOR_", settings) | TORCH_ENVIRONMENT
    program = Program(module="validator.cli", arguments=("run",), environment=environment)
    await fleet.start("validator", program)
    return f"http://127.0.0.1:{port}"


async def _start_api(
    fleet: Fleet, folder: Path, validator_url: str, validator: Hotkey, port: int
) -> str:
    settings = {
        "VALIDATOR_LOGS": json.dumps([{"url": validator_url, "hotkey": validator}]),
        "REFRESH_SECONDS": "1",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "DATA_DIR": str(folder / "api"),
    }
    environment = _prefixed("API_", settings)
    program = Program(module="api.cli", arguments=("serve",), environment=environment)
    await fleet.start("api", program)
    return f"http://127.0.0.1:{port}"


async def _until_healthy(stage: Stage, url: str) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        stage.fleet.check_alive()
        with contextlib.suppress(httpx.HTTPError):
            answer = await stage.http.get(f"{url}/healthz")
            if answer.status_code == httpx.codes.OK:
                return
        await asyncio.sleep(_POLL_SECONDS)
    raise ChildError(f"{url} is not up after {_READY_SECONDS:.0f} s")


def _wallet(folder: Path, name: str) -> dict[str, str]:
    return {
        "WALLET_NAME": name,
        "WALLET_HOTKEY": _HOTKEY_NAME,
        "WALLET_PATH": str(folder / "wallets"),
    }


def _prefixed(prefix: str, settings: Mapping[str, str]) -> dict[str, str]:
    return {f"{prefix}{name}": value for name, value in settings.items()}


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
