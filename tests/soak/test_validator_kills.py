"""Two validators on two databases, each killed 50 times: nothing lost, doubled or different."""

import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol.canonical import canonical_json
from protocol.ids import RoundNumber
from protocol.merkle import verify_consistency
from protocol.messages import TreeHead
from protocol.signing import Signed
from tests.support.kept_validator import STEPS_FILE, Chain, cast, run_life
from tests.support.keys import DevSigner
from tests.support.postgres import PostgresServer, postgres_server
from tests.support.validator import open_store
from validator.audit import audit
from validator.log import TransparencyLog
from validator.store import Store

pytestmark = pytest.mark.soak

ROUNDS = 6
KILLS = 50


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


def agreed(store: Store) -> list[bytes]:
    """The bytes in which validators must not differ, round by round."""
    records = [store.record(RoundNumber(number)) for number in range(1, ROUNDS + 1)]
    assert all(records)
    return [
        canonical_json(
            {
                name: [part.model_dump(mode="json") for part in getattr(record.payload, name)]
                for name in ("cells", "scores", "weights")
            }
        )
        for record in records
        if record
    ]


def killed_again_and_again(data_dir: Path, database: str | None, validator: str) -> int:
    """Kill a validator at random steps until it has died `KILLS` times; then let it finish."""
    chance = random.Random(f"kills of {validator}")  # noqa: S311 - a test's seed
    whole = data_dir / "whole"
    run_life(whole, None, validator=validator, rounds=ROUNDS)
    steps = int((whole / STEPS_FILE).read_text())
    run_life(whole, None, validator=validator, rounds=ROUNDS)
    start = int((whole / STEPS_FILE).read_text())
    longest = 2 * (start + steps // (2 * KILLS))
    kills = 0
    while kills < KILLS:
        last = chance.randrange(1, longest)
        alive = not run_life(data_dir, database, validator=validator, rounds=ROUNDS, last=last)
        if alive:
            break
        kills += 1
    run_life(data_dir, database, validator=validator, rounds=ROUNDS)
    return kills


def check_log(store: Store, log: TransparencyLog, validator: str, sent: int) -> None:
    """One verdict per miner and round, heads that extend each other, an audit without fault."""
    entries = [json.loads(data) for data in log.entries(0, 500)]
    head = Signed[TreeHead].model_validate_json(log.head() or b"null")
    verdicts = [entry["payload"] for entry in entries if entry["payload"]["kind"] == "verdict"]
    seen = Counter((one["round"], one["miner"]) for one in verdicts)
    expected = {(number, m.hotkey) for number in range(1, ROUNDS + 1) for m in cast()}

    assert set(seen) == expected
    assert set(seen.values()) == {1}
    assert log.size == len(entries) == ROUNDS * (len(cast()) + 1) == head.payload.size
    hotkey = DevSigner(f"//{validator}").hotkey
    assert audit(entries, json.loads(log.head() or b"null"), validator=hotkey).faults == ()
    for old in range(len(cast()) + 1, log.size, len(cast()) + 1):
        verify_consistency(
            old_size=old,
            old_root=bytes.fromhex(log.inclusion(0, old).root),
            size=log.size,
            root=bytes.fromhex(head.payload.root),
            proof=[bytes.fromhex(node) for node in log.consistency(old, log.size)],
        )
    assert sent == ROUNDS
    states = [store.state(RoundNumber(number)) for number in range(1, ROUNDS + 1)]
    assert all(state and state.weights_block for state in states)


@pytest.mark.postgres
@pytest.mark.timeout(600)
def test_killed_validators_on_two_databases_end_with_the_same_bytes(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    databases = {"First": None, "Second": postgres.create_database("kills")}
    found = {}
    for validator, database in databases.items():
        data_dir = tmp_path / validator
        kills = killed_again_and_again(data_dir, database, validator)
        store, log = open_store(database, data_dir)
        chain = Chain(data_dir / "chain")
        check_log(store, log, validator, len(chain.sent))
        whole, _ = open_store(None, data_dir / "whole")
        assert agreed(whole) == agreed(store)
        uid = chain.ledger.neuron(DevSigner(f"//{validator}").hotkey)
        assert uid is not None
        found[validator] = (agreed(store), chain.ledger.weights[uid.uid], kills)
        whole.close()
        store.close()

    assert found["First"][:2] == found["Second"][:2]
    assert min(kills for _, _, kills in found.values()) == KILLS
