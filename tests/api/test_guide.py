"""The guide's examples, run as they stand: addresses and programs against a served node."""

import asyncio
import re
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import uvicorn

from api.app import create_app
from api.archive import Archive
from api.catalogue import Catalogue
from api.prices import NoPrices
from api.refresh import Sources, refresh
from api.release import Holder
from api.store import Store
from tests.support.refreshing import NoReadings, StaticLogs

GUIDE = (Path(__file__).parents[2] / "docs" / "using-the-api.md").read_text()
NODE = "http://127.0.0.1:8080"
NOW = datetime(2026, 11, 21, 20, 15, tzinfo=UTC)
ROW = "mistral-7b~aws-bedrock~eu-west-3~ml.energy-v2-h100-80gb"
OTHER = "mistral-7b~aws-bedrock~us-west-2~ml.energy-v2-h100-80gb"
STANDS_FOR = {"ZONE": "us-virginia", "row=ID&row=ID": f"row={ROW}&row={OTHER}", "ID": ROW}
NEEDS = {
    "/emissions/": "?location=westeurope",
    "/emissions/average-carbon-intensity": "?location=NL&startTime=2026-11-21&endTime=2026-11-22",
}
PROGRAMS = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
ASKED = re.findall(rf"curl '{NODE}([^']+)'", GUIDE)


def listed() -> list[str]:
    """The addresses of the guide's table; what follows one is beside it."""
    table = GUIDE.split("## Everything else")[1].split("\n\n")[1]
    found = []
    for cells in (line.split(" | ")[0] for line in table.splitlines()[2:]):
        base = ""
        for name in re.findall(r"`([^`]+)`", cells):
            if "batch" in name:
                continue
            if name.startswith("/"):
                base = name.rpartition("/")[0]
                found.append(name)
            else:
                found.append(f"{base}/{name}")
    return found


def filled(address: str) -> str:
    """An address with something for each of its placeholders."""
    address = address.replace("releases/NAME", "releases/latest").replace("NAME", "mistral-7b")
    for name, value in STANDS_FOR.items():
        address = address.replace(name, value)
    needed = max((path for path in NEEDS if address.startswith(path)), key=len, default=None)
    return address + NEEDS[needed] if needed else address


@pytest.fixture(scope="module")
def node(small_catalogue: Catalogue, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a node serves."""
    store = Store.open(f"sqlite:///{tmp_path_factory.mktemp('guide') / 'api.sqlite3'}")
    holder = Holder(clock=lambda: NOW)
    sources = Sources(
        catalogue=small_catalogue,
        logs=StaticLogs(),
        grid=NoReadings(),
        prices=NoPrices(),
        keeper=store,
    )
    asyncio.run(refresh(sources, holder, NOW))
    app = create_app(holder, archive=Archive.beside(store))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)
    listener.close()
    store.close()


@pytest.mark.parametrize("address", [*ASKED, *map(filled, listed())])
def test_an_address_of_the_guide_answers(node: str, address: str) -> None:
    found = httpx.get(node + address)

    assert found.status_code == 200, found.text
    assert found.content


@pytest.mark.parametrize("program", PROGRAMS, ids=["scheduler", "client"])
def test_a_program_of_the_guide_runs(
    node: str, program: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)

    exec(compile(program.replace(NODE, node), "guide", "exec"), {})  # noqa: S102 - our own guide

    assert "Paris" in capsys.readouterr().out
    assert all(wait >= 0 for wait in waits)


def test_the_guide_asks_for_something() -> None:
    assert len(ASKED) >= 5
    assert len(listed()) >= 30
