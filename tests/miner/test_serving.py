"""One whole miner, really put together: devnet chain, simulated GPU, real model, real socket."""

import asyncio
import os
import signal
from pathlib import Path

import httpx
import pytest

from miner.gpu_lock import locked_gpus
from miner.serving import serve
from miner.settings import Settings
from protocol.auth import SignedRequests
from protocol.chain import Axon
from protocol.errors import ChainError, ConfigurationError
from protocol.messages import Profile
from protocol.signing import Signed, verify
from protocol.wallet import HotkeySigner, create_dev_wallet
from scripts.devnet.gpu.config import DeviceConfig, GpuConfig, Source
from scripts.devnet.gpu.install import simulated_gpus
from scripts.devnet.processes import free_port
from tests.support.devnet import VALIDATOR, Devnet, running_devnet, seat
from tests.support.model import need_smollm2

GPU = GpuConfig(devices=(DeviceConfig(source=Source.WORK),))


def settings(folder: Path, endpoint: str, **changes: object) -> Settings:
    given: dict[str, object] = {
        "network": "devnet",
        "endpoint": endpoint,
        "wallet_name": "miner",
        "wallet_hotkey": "hot",
        "wallet_path": folder / "wallets",
        "models": (str(need_smollm2()),),
        "device": "cpu",
        "threads": 1,
        "host": "127.0.0.1",
        "port": free_port(),
        "data_dir": folder / "data",
        "lock_dir": folder / "locks",
    }
    return Settings.load(given | changes)


def registered(folder: Path, devnet: Devnet) -> HotkeySigner:
    """A wallet on disk whose hotkey holds a UID."""
    signer = create_dev_wallet("miner", "hot", folder / "wallets", uri="//serving")
    seat(devnet.subnet, signer.hotkey)
    devnet.node.seal()
    return signer


async def until_healthy(http: httpx.AsyncClient) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                await http.get("/healthz")
            except httpx.TransportError:
                await asyncio.sleep(0.05)
            else:
                return


async def test_a_miner_starts_announces_itself_serves_and_ends_on_sigterm(tmp_path: Path) -> None:
    async with running_devnet() as devnet:
        signer = registered(tmp_path, devnet)
        wanted = settings(tmp_path, devnet.endpoint)
        with simulated_gpus(GPU):
            serving = asyncio.create_task(serve(wanted))
            address = f"http://127.0.0.1:{wanted.port}"
            async with httpx.AsyncClient(base_url=address, trust_env=False, timeout=30) as http:
                await until_healthy(http)
                auth = SignedRequests(VALIDATOR, signer.hotkey)
                profile = await http.get("/v1/profile", auth=auth)
                os.kill(os.getpid(), signal.SIGTERM)
                await serving
        metagraph = await (await devnet.chain()).metagraph()

    served = verify(Signed[Profile].model_validate_json(profile.content), hotkey=signer.hotkey)
    assert served.devices[0].name.startswith("SIMULATED")
    neuron = metagraph.by_hotkey(signer.hotkey)
    assert neuron is not None
    assert neuron.axon == Axon(ip="127.0.0.1", port=wanted.port)
    assert free_port(wanted.port) == wanted.port


async def test_a_wallet_that_is_not_there_is_told_before_anything_is_loaded(
    tmp_path: Path,
) -> None:
    with pytest.raises(ConfigurationError, match="no hotkey"):
        await serve(settings(tmp_path, "ws://127.0.0.1:9"))

    assert not list((tmp_path / "data").glob("*-2-*"))


async def test_a_second_miner_on_a_gpu_is_told_at_its_start(tmp_path: Path) -> None:
    create_dev_wallet("miner", "hot", tmp_path / "wallets", uri="//serving")
    wanted = settings(tmp_path, "ws://127.0.0.1:9")

    with (
        simulated_gpus(GPU) as gpus,
        locked_gpus([gpus.devices[0].uuid], tmp_path / "locks"),
        pytest.raises(ConfigurationError, match="another miner uses the GPU") as refusal,
    ):
        await serve(wanted)

    assert "MINER_GPUS" in refusal.value.hint


async def test_a_chain_that_is_away_at_the_start_is_told(tmp_path: Path) -> None:
    create_dev_wallet("miner", "hot", tmp_path / "wallets", uri="//serving")

    with simulated_gpus(GPU), pytest.raises(ChainError) as refusal:
        await serve(settings(tmp_path, "ws://127.0.0.1:9"))

    assert "ws://127.0.0.1:9" in refusal.value.hint
