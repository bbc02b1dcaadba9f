"""A real miner in a real process that is killed, and loses or doubles nothing."""

import signal
from pathlib import Path

import pytest

from protocol.ids import RoundNumber
from tests.support.miner_process import miner_process

ROUND = RoundNumber(1)
KEPT = ["commitment.json", "outcome.json", "report.json"]


@pytest.mark.timeout(600)
async def test_a_miner_killed_in_the_run_and_after_it_commits_once(tmp_path: Path) -> None:
    async with miner_process(tmp_path) as miner:
        await miner.start()
        await miner.until_state("measuring")
        await miner.kill()
        assert "commitment.json" not in miner.kept_files(ROUND)

        await miner.start()
        committed = await miner.until_committed(ROUND)
        await miner.kill()
        await miner.start()

        assert await miner.until_committed(ROUND) == committed
        report = await miner.revealed(ROUND)
        assert await miner.end(signal.SIGTERM) == 0

    assert report.round == ROUND
    assert miner.kept_files(ROUND) == KEPT
