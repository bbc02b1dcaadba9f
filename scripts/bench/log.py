"""The transparency log: proofs over a million leaves, and verdicts on disk.

Proofs beside pymerkle's over as many leaves as it builds in reasonable time; verdicts beside a
bare insert of as many bytes into the same SQLite with the same fsync.
"""

import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from protocol.errors import ConfigurationError
from protocol.merkle import MerkleTree
from protocol.messages import Finding, RefusalRecord, Verdict
from protocol.signing import Signature, Signed, payload_type
from protocol.units import Seconds, milliseconds
from scripts.bench.entries import Entry, entry, labelled
from scripts.bench.scoring import address
from validator.database import database_url, migrate, open_engine
from validator.log import TransparencyLog
from validator.records import Facts
from validator.store import Store

LEAVES = 1_000_000
ANCHOR_LEAVES = 100_000
PROOFS = 200
VERDICTS = 200
_FINDINGS = 35


def run(share: float) -> list[Entry]:
    """Size and time of inclusion proofs; time to keep a verdict.

    Args:
        share: Share of the leaves and repetitions.

    Raises:
        ConfigurationError: If the anchor is not installed.
    """
    return [*_proofs(share), *_appends(max(20, round(VERDICTS * share)))]


def _proofs(share: float) -> Iterator[Entry]:
    leaves = max(1_000, round(LEAVES * share))
    tree = MerkleTree(sha256(b"%d" % place).digest() for place in range(leaves))
    chance = random.Random(0)  # noqa: S311 - which leaves are proven
    indices = [chance.randrange(leaves) for _ in range(PROOFS)]
    proofs = [tree.inclusion_proof(index, leaves) for index in indices]
    ours = _median_ms([partial(tree.inclusion_proof, index, leaves) for index in indices])
    theirs_leaves = max(1_000, round(ANCHOR_LEAVES * share))
    size, theirs = _anchor(theirs_leaves, indices)
    title = f"pymerkle {_version('pymerkle')}, leaves={theirs_leaves}"
    longest = 32 * max(map(len, proofs))
    name = labelled("inclusion_proof_bytes", leaves=leaves)
    yield entry(name, longest, "B", anchor=title, anchor_value=size)
    name = labelled("inclusion_proof_ms", leaves=leaves)
    yield entry(name, ours, "ms", anchor=title, anchor_value=theirs)


def _anchor(leaves: int, indices: list[int]) -> tuple[int, float]:
    """Longest proof (bytes of hashes) and median time of pymerkle (ms)."""
    _version("pymerkle")
    import pymerkle  # noqa: PLC0415 - an anchor, which need not be installed

    tree = pymerkle.InmemoryTree(algorithm="sha256")
    for place in range(leaves):
        tree.append_entry(b"%d" % place)
    chosen = [1 + index % leaves for index in indices[:20]]
    proofs = [tree.prove_inclusion(index, leaves) for index in chosen]
    times = _median_ms([partial(tree.prove_inclusion, index, leaves) for index in chosen])
    return 32 * max(len(proof.serialize()["path"]) for proof in proofs), times


def _appends(count: int) -> Iterator[Entry]:
    with tempfile.TemporaryDirectory() as folder:
        engine = open_engine(database_url(None, Path(folder)))
        migrate(engine)
        store = Store(engine, TransparencyLog(engine))
        facts = [Facts(verdict=_signed(place)) for place in range(count)]
        ours = _median_ms([partial(store.keep_verdict, one) for one in facts])
        store.close()
        theirs = _bare_ms(Path(folder) / "bare.db", count)
    yield entry(
        labelled("verdict_append_ms", fsync="full"),
        ours,
        "ms",
        anchor=f"bare insert, SQLite {sqlite3.sqlite_version}",
        anchor_value=theirs,
    )


def _bare_ms(path: Path, count: int) -> float:
    data = _signed(0).model_dump_json().encode()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE entries (place INTEGER PRIMARY KEY, data BLOB)")
    statement = "INSERT INTO entries VALUES (?, ?)"
    work = [partial(connection.execute, statement, (place, data)) for place in range(count)]
    found = _median_ms(work)
    connection.close()
    return found


def _median_ms(work: Iterable[Callable[[], object]]) -> float:
    found = []
    for one in work:
        begun = time.perf_counter()
        one()
        found.append(milliseconds(Seconds(time.perf_counter() - begun)))
    return statistics.median(found)


def _signed(place: int) -> Signed[Verdict]:
    """A verdict of the usual size; its signature is not what is measured."""
    key = address(place)
    finding = Finding(code="time_floor_us", passed=True, hard=True, value=1, low=0, high=2**50)
    verdict = Verdict(
        genesis_hash="0x" + "00" * 32,
        netuid=1,
        validator=key,
        miner=key,
        operator=key,
        round=1,
        outcome="rejected",
        rejection=RefusalRecord(code="no_report", detail="benchmark"),
        commitment_digest=None,
        commitment_block=None,
        report_digest=None,
        findings=(finding,) * _FINDINGS,
        proof=None,
        cell=None,
        status=None,
        energy_mj=None,
        duration_us=None,
        prompt_count=None,
        input_tokens=None,
        output_tokens=None,
        energy_per_1k_output_tokens_uwh=None,
    )
    signature = Signature(keyid=key, sig="0x" + "00" * 64)
    return Signed[Verdict](
        payload_type=payload_type(verdict), payload=verdict, signatures=(signature,)
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError as error:
        hint = "Install the anchors: pip install 'carbonbench[bench]'."
        raise ConfigurationError(f"{name} is not installed", hint=hint) from error
