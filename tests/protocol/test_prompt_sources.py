"""Where prompts come from, and that wrong ones fail closed."""

import hashlib
import json
from pathlib import Path

import pytest

from protocol import prompt_sources
from protocol.errors import WorkloadError
from protocol.prompt_sources import load_prompts, read_prompt_file
from protocol.prompts import (
    STANDIN_NAME,
    prompts_digest,
    restore_white_space,
    standin_prompts,
)
from protocol.workload import PromptSet
from tests.support.needs import need_distribution

RAW_DIGEST = "d0aad7014d29e225ba0e3ccc8671c6d5d2f226dac9e0bcea3d78d960a5eb4e48"
FIRST_20_DIGEST = "55e1ec0da602b7a4814abb5b3d2643b97d4801d06c6f4b4a08071a92dbab8248"


@pytest.fixture(scope="module")
def public() -> tuple[str, ...]:
    need_distribution("llenergymeasure")
    return load_prompts(PromptSet.AI_ENERGY_SCORE, 1000)


def write_lines(path: Path, texts: tuple[str, ...], key: str = "prompt") -> Path:
    path.write_text("\n".join(json.dumps({key: text}) for text in texts), encoding="utf-8")
    return path


def test_public_prompts_come_from_the_installed_package(public: tuple[str, ...]) -> None:
    assert len(public) == 1000
    assert prompts_digest(public[:20]) == FIRST_20_DIGEST
    raw = "\0".join(restore_white_space(public))
    assert hashlib.sha256(raw.encode()).hexdigest() == RAW_DIGEST


def test_first_prompts_are_in_order(public: tuple[str, ...]) -> None:
    assert load_prompts(PromptSet.AI_ENERGY_SCORE, 7) == public[:7]


@pytest.mark.parametrize("key", ["prompt", "text"])
def test_a_named_file_is_taken_with_or_without_its_white_space(
    key: str, public: tuple[str, ...], tmp_path: Path
) -> None:
    path = write_lines(tmp_path / "prompts.jsonl", restore_white_space(public), key)

    assert load_prompts(PromptSet.AI_ENERGY_SCORE, 1000, file=path) == public


def test_a_changed_byte_fails_closed(public: tuple[str, ...], tmp_path: Path) -> None:
    changed = (*public[:500], public[500] + ".", *public[501:])
    path = write_lines(tmp_path / "prompts.jsonl", changed)

    with pytest.raises(WorkloadError, match="have digest") as caught:
        load_prompts(PromptSet.AI_ENERGY_SCORE, 10, file=path)
    assert "pip install" in caught.value.hint


def test_a_missing_line_fails_closed(public: tuple[str, ...], tmp_path: Path) -> None:
    path = write_lines(tmp_path / "prompts.jsonl", public[:-1])

    with pytest.raises(WorkloadError, match="has 999 prompts"):
        load_prompts(PromptSet.AI_ENERGY_SCORE, 10, file=path)


@pytest.mark.parametrize(
    "content", ["not json", '{"other": "x"}', '{"prompt": 3}', '["list"]', '"text"', "7"]
)
def test_a_file_of_another_kind_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text(content)

    with pytest.raises(WorkloadError, match="cannot read prompts"):
        read_prompt_file(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match=r"gone\.jsonl"):
        load_prompts(PromptSet.AI_ENERGY_SCORE, 1, file=tmp_path / "gone.jsonl")


def test_nothing_stands_in_for_public_prompts_that_are_nowhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prompt_sources, "PACKAGE", "carbonbench-no-such-distribution")

    with pytest.raises(WorkloadError, match="not on this machine") as caught:
        load_prompts(PromptSet.AI_ENERGY_SCORE, 1)
    assert "llenergymeasure" in caught.value.hint


def test_standin_prompts_are_generated_when_asked_for() -> None:
    assert load_prompts(PromptSet(STANDIN_NAME), 5) == standin_prompts(5)


def test_standin_prompts_take_no_file(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match="takes no file"):
        load_prompts(PromptSet(STANDIN_NAME), 5, file=tmp_path / "prompts.jsonl")


@pytest.mark.parametrize("count", [0, -1, 1001])
def test_a_count_that_the_set_does_not_have_is_refused(count: int) -> None:
    with pytest.raises(WorkloadError, match=str(count)):
        load_prompts(PromptSet.AI_ENERGY_SCORE, count)
