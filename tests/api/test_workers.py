"""Several processes on one port: the same answers, counts of all, and nothing left behind."""

import asyncio
import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import httpx
import pytest

from api.app import create_app
from api.release import Holder, Release
from api.schemas import SourceState
from api.serving import free_port
from api.settings import Settings
from api.workers import (
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    Told,
    Workers,
    hear_for_ever,
    next_pause_seconds,
)

ROOT = Path(__file__).parents[2]
WAIT_SECONDS = 60
HOST = "127.0.0.1"
RANKING = "/api/v1/leaderboard?limit=5"
UNREACHABLE = SourceState(
    name="http://127.0.0.1:1",
    kind="log",
    state="unreachable",
    detail="nobody answers",
    data_as_of=None,
    entries=None,
    validator=None,
)


async def fetched(release: Release, *paths: str) -> list[httpx.Response]:
    """What an application of this process answers."""
    holder = Holder()
    holder.swap(release)
    transport = httpx.ASGITransport(app=create_app(holder))
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        return [await client.get(path) for path in paths]


def sent(release: Release) -> Release:
    """A release as another process gets it."""
    found: Release = pickle.loads(pickle.dumps(release))  # noqa: S301 - made here
    return found


async def test_a_release_that_was_sent_answers_with_the_same_bytes(release: Release) -> None:
    paths = (
        RANKING,
        "/api/v1/leaderboard?provider=groq&place=ireland&sort=price",
        "/api/v1/recommend?model=llama-3.1-8b",
        "/api/v1/models",
        "/api/v1/export.csv",
    )

    here = await fetched(release, *paths)
    there = await fetched(sent(release), *paths)

    assert [answer.content for answer in there] == [answer.content for answer in here]
    assert [answer.headers.get("etag") for answer in there] == [
        answer.headers.get("etag") for answer in here
    ]
    assert {answer.status_code for answer in here} == {200}


def told(release: Release | None, **changed: object) -> Told:
    held = {
        "release": pickle.dumps(release) if release else None,
        "sources": release.sources if release else (),
        "refreshed_at": datetime(2026, 11, 21, tzinfo=UTC),
        "failure": "",
    }
    return Told(**{**held, **changed})  # type: ignore[arg-type]  # the fields' types


def test_new_states_of_the_sources_need_no_release(release: Release) -> None:
    holder = Holder()
    told(release).put_into(holder)
    first = holder.release

    told(None, sources=(UNREACHABLE,), failure="no answer").put_into(holder)

    assert holder.release is not None
    assert first is not None
    assert holder.release.table is first.table
    assert holder.release.sources == (UNREACHABLE,)
    assert holder.failure == "no answer"


def test_the_first_process_may_fail_before_it_has_a_release() -> None:
    holder = Holder()

    told(None, refreshed_at=None, failure="no tables").put_into(holder)

    assert holder.release is None
    assert holder.refreshed_at is None
    assert holder.failure == "no tables"


def test_a_first_process_that_dies_while_it_tells_has_told_what_was_whole() -> None:
    whole, holder = pickle.dumps(told(None)), Holder()
    torn = pickle.dumps(told(None, failure="never heard"))[:-20]

    hear_for_ever(BytesIO(whole + torn), holder)

    assert holder.refreshed_at is not None
    assert holder.failure == ""


def test_pauses_grow_until_a_worker_runs_for_long() -> None:
    pauses = [FIRST_PAUSE_SECONDS]
    for _ in range(10):
        pauses.append(next_pause_seconds(pauses[-1], ran_seconds=0.1))

    assert pauses[:4] == [1.0, 2.0, 4.0, 8.0]
    assert pauses[-1] == LONGEST_PAUSE_SECONDS
    assert next_pause_seconds(pauses[-1], ran_seconds=3_600.0) == FIRST_PAUSE_SECONDS


@asynccontextmanager
async def followed(holder: Holder, folder: Path) -> AsyncIterator[tuple[Workers, str]]:
    """A worker that answers alone on its port what this process tells it."""
    port = free_port(HOST, 0)
    counts = folder / "counts"
    counts.mkdir()
    workers = Workers(holder, Settings(data_dir=folder, workers=2), port, counts)
    keeping = asyncio.create_task(workers.keep())
    try:
        yield workers, f"http://{HOST}:{port}"
    finally:
        workers.stop()
        await asyncio.wait_for(keeping, WAIT_SECONDS)


async def until(url: str, is_so: Callable[[httpx.Response], bool]) -> httpx.Response:
    """The first answer that is as expected."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        try:
            # A connection each: a killed worker's is of no use to the next one.
            async with httpx.AsyncClient(trust_env=False) as client:
                answer = await client.get(url)
        except httpx.TransportError:
            pass
        else:
            if is_so(answer):
                return answer
        await asyncio.sleep(0.05)
    pytest.fail(f"{url} did not answer as expected within {WAIT_SECONDS} s")


async def test_a_worker_follows_each_swap_and_comes_back_when_it_is_killed(
    release: Release, tmp_path: Path
) -> None:
    holder, now = Holder(), datetime.now(UTC)
    holder.swap(release)
    holder.succeeded(now)
    later = release.computed_at + timedelta(hours=1)
    newer = replace(sent(release), id="newer", computed_at=later)
    expected = [(await fetched(each, RANKING))[0].headers["etag"] for each in (release, newer)]
    async with followed(holder, tmp_path) as (workers, url):
        first = await until(f"{url}{RANKING}", lambda answer: answer.status_code == 200)
        assert first.headers["etag"] == expected[0]

        holder.swap(newer)
        workers.tell()
        second = await until(f"{url}{RANKING}", lambda answer: b'"newer"' in answer.content)
        assert second.headers["etag"] == expected[1]

        holder.swap(newer.with_sources([UNREACHABLE]))
        holder.failed("the database is full")
        workers.tell()
        ready = await until(f"{url}/readyz", lambda answer: "is full" in answer.text)
        assert ready.json()["sources"] == [UNREACHABLE.model_dump()]

        (killed,) = children_of(os.getpid())
        os.kill(killed, signal.SIGKILL)
        back = await until(f"{url}/readyz", lambda _: killed not in children_of(os.getpid()))
        assert back.json() | {"refresh_age_seconds": 0} == ready.json() | {"refresh_age_seconds": 0}

    assert not children_of(os.getpid())


def is_running(pid: int) -> bool:
    """Whether a process is there, and not only its exit code, which nobody may have asked for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children_of(pid: int) -> set[int]:
    """The workers that a process has started."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = stat.read_text().rpartition(")")[2].split()[1]
            is_worker = b"api.cli_worker" in (stat.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if int(parent) == pid and is_worker:
            found.add(int(stat.parent.name))
    return found


def held_sockets(pid: int) -> set[str]:
    """Inodes of a process's sockets."""
    found = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            found.add(str(descriptor.readlink()).removeprefix("socket:[").removesuffix("]"))
    return found


@dataclass(frozen=True, slots=True)
class Served:
    """A node of two processes."""

    process: subprocess.Popen[str]
    url: str
    folder: Path

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def pids(self) -> set[int]:
        return {self.process.pid, *children_of(self.process.pid)}

    def get(self, path: str) -> tuple[int, str, bytes]:
        """Which process answered, with which ETag, and what."""
        with socket.create_connection((HOST, self.port), timeout=WAIT_SECONDS) as connection:
            own_port = connection.getsockname()[1]
            connection.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
            with connection.makefile("rb") as stream:
                stream.readline()
                headers = dict(
                    line.decode().strip().lower().split(": ", 1)
                    for line in iter(stream.readline, b"\r\n")
                )
                body = stream.read(int(headers["content-length"]))
            return self._holder_of(own_port), headers.get("etag", ""), body

    def get_from_each(self, path: str) -> dict[int, tuple[str, bytes]]:
        """What each of the two answers; connections go to either by chance."""
        found: dict[int, tuple[str, bytes]] = {}
        deadline = time.monotonic() + WAIT_SECONDS
        while len(found) < 2 and time.monotonic() < deadline:
            pid, tag, body = self.get(path)
            found[pid] = (tag, body)
        assert set(found) == self.pids()
        return found

    def _holder_of(self, peer_port: int) -> int:
        """The process that holds the other end of a connection."""
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        (inode,) = [
            line[9]
            for line in lines
            if line[1].endswith(f":{self.port:04X}") and line[2].endswith(f":{peer_port:04X}")
        ]
        (pid,) = [pid for pid in self.pids() if inode in held_sockets(pid)]
        return pid


@contextmanager
def served(folder: Path) -> Iterator[Served]:
    """`carbonbench-api serve --workers 2`, killed at the end if it is still there."""
    temporary = folder / "tmp"
    temporary.mkdir()
    command = ["serve", "--workers", "2", "--port", "0", "--data-dir", str(folder / "data")]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "api.cli", *command],
            env={**os.environ, "API_REQUESTS_PER_MINUTE": "0", "TMPDIR": str(temporary)},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=ROOT,
        )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().removeprefix("CarbonBench API at ").strip()
        yield Served(process, url, folder)
    finally:
        process.kill()
        process.communicate(timeout=WAIT_SECONDS)


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_closed(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) != 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_two_workers_are_one_node_until_it_ends(tmp_path: Path, number: signal.Signals) -> None:
    with served(tmp_path) as node:
        (tag, body), other = node.get_from_each(RANKING).values()
        assert other == (tag, body)
        assert tag
        pids = node.pids()
        for _ in range(20):
            assert node.get("/api/v1/models/nobody")[0] in pids
        counted = 'route="/api/v1/models/{name:path}",status="404"} 20.0\n'
        # A request is counted once its answer is out, which may be after we have it.
        wait_until(
            lambda: all(
                counted in scraped.decode()
                for _, scraped in node.get_from_each("/metrics").values()
            )
        )

        node.process.send_signal(number)

        node.process.wait(WAIT_SECONDS)
        wait_until(lambda: not any(map(is_running, pids)))
        assert is_closed(node.port)
        assert not list((tmp_path / "tmp").iterdir())
        assert "Traceback" not in (tmp_path / "log").read_text()
