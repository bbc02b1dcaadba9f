"""Two miners, one GPU: the second is told, and a killed one leaves nothing behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from miner.gpu_lock import lock_folder, locked_gpus
from protocol.errors import ConfigurationError

ONE, OTHER = "GPU-1111", "GPU-2222"


def test_a_second_miner_on_a_gpu_is_refused_with_a_hint(tmp_path: Path) -> None:
    with (
        locked_gpus([ONE, OTHER], tmp_path),
        pytest.raises(ConfigurationError, match=OTHER) as refusal,
        locked_gpus([OTHER], tmp_path),
    ):
        pytest.fail("two miners hold one GPU")

    assert "MINER_GPUS" in refusal.value.hint


def test_miners_on_their_own_gpus_do_not_meet(tmp_path: Path) -> None:
    with locked_gpus([ONE], tmp_path), locked_gpus([OTHER], tmp_path):
        assert len(list(tmp_path.iterdir())) == 2


def test_a_refused_miner_holds_nothing(tmp_path: Path) -> None:
    with locked_gpus([OTHER], tmp_path):
        with pytest.raises(ConfigurationError), locked_gpus([ONE, OTHER], tmp_path):
            pytest.fail("two miners hold one GPU")
        with locked_gpus([ONE], tmp_path):
            pass


def test_a_killed_miner_leaves_its_gpu_free(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from miner.gpu_lock import locked_gpus\n"
        f"with locked_gpus(['{ONE}'], Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ConfigurationError), locked_gpus([ONE], tmp_path):
            pytest.fail("two miners hold one GPU")
        holder.send_signal(signal.SIGKILL)

    with locked_gpus([ONE], tmp_path):
        pass


def test_a_lock_that_another_user_made_can_be_held(tmp_path: Path) -> None:
    (tmp_path / f"carbonbench-{ONE}.lock").touch(mode=0o444)

    with locked_gpus([ONE], tmp_path):
        pass


def test_a_folder_that_takes_no_lock_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with (
        pytest.raises(ConfigurationError, match="cannot lock") as refusal,
        locked_gpus([ONE], tmp_path / "file" / "folder"),
    ):
        pytest.fail("a file is no folder")

    assert "MINER_LOCK_DIR" in refusal.value.hint


def test_the_folder_is_the_wanted_one_or_one_that_can_be_written(tmp_path: Path) -> None:
    assert lock_folder(tmp_path) == tmp_path
    assert os.access(lock_folder(), os.W_OK)
