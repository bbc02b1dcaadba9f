"""Fetching from a hub: a real client against a hub on loopback."""

import json
import os
import subprocess
import sys

import pytest

from protocol.models import model_named
from tests.support.hub import GATED, hub_serving

PINNED = model_named("openai-community/gpt2")
FILES = {
    "config.json": b"{}",
    "model.safetensors": b"weights",
    "tokenizer.json": b"{}",
    "README.md": b"not wanted",
    "pytorch_model.bin": b"not wanted either",
}
# In a process of its own, as the client reads its settings when it is imported.
PROBE = """
import json, sys
from dataclasses import replace
from pathlib import Path
from protocol.errors import WorkloadError
from protocol.ids import Digest, ModelId
from protocol.model_files import fetch_model, resolve_model
from protocol.models import model_named

pinned = model_named("openai-community/gpt2")
tries = {
    "fetched": pinned,
    "gated": replace(pinned, id=ModelId("example/gated")),
    "unknown": replace(pinned, id=ModelId("example/unknown")),
    "other revision": replace(pinned, revision="f" * 40),
    "other weights": replace(pinned, weights_digest=Digest("0" * 64)),
}
found = {}
for name, model in tries.items():
    try:
        folder = fetch_model(model, Path(sys.argv[1]))
        found[name] = sorted(path.name for path in folder.iterdir() if path.is_file())
        local = resolve_model(str(folder), Path(sys.argv[1]))
        found["named " + name] = [local.id, local.revision]
    except WorkloadError as error:
        found[name] = [str(error), error.hint]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    folder = tmp_path_factory.mktemp("models")
    with hub_serving(PINNED.id, FILES, PINNED.revision) as url:
        environment = os.environ | {"HF_ENDPOINT": url, "HF_HUB_OFFLINE": "0", "HF_TOKEN": ""}
        done = subprocess.run(
            [sys.executable, "-c", PROBE, str(folder)],
            env=environment | {"HF_HOME": str(folder / "home")},
            capture_output=True,
            text=True,
            check=False,
            timeout=110,
        )
    assert done.returncode == 0, done.stderr
    answers: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return answers


def test_a_model_comes_with_the_files_that_a_run_needs(found: dict[str, list[str]]) -> None:
    assert found["fetched"] == ["config.json", "model.safetensors", "tokenizer.json"]


def test_a_catalogue_s_model_comes_at_its_pinned_commit(found: dict[str, list[str]]) -> None:
    message, _ = found["other revision"]

    assert found["named fetched"] == [PINNED.id, "607a30d783dfa663caf39e06633721c8d4cfcd7e"]
    assert message == f"the hub has no {PINNED.id} at revision {'f' * 40!r}"


def test_a_gated_model_says_where_to_accept_its_terms(found: dict[str, list[str]]) -> None:
    message, hint = found["gated"]

    assert message == f"{GATED} is gated"
    assert f"https://huggingface.co/{GATED}" in hint
    assert "HF_TOKEN" in hint


def test_an_unknown_model_is_named(found: dict[str, list[str]]) -> None:
    message, hint = found["unknown"]

    assert message.startswith("the hub has no example/unknown")
    assert "private or gated" in hint


def test_weights_that_are_not_the_catalogue_s_are_refused(found: dict[str, list[str]]) -> None:
    message, hint = found["other weights"]

    assert "have digest" in message
    assert "fetch it again" in hint
