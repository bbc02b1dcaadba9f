"""The workload's key separates what must not be compared."""

from dataclasses import replace

import pytest

from protocol.errors import MalformedMessageError
from protocol.workload import (
    FULL_PLAIN,
    FULL_TAGGED,
    SMOKE_TAGGED,
    SMOKE_WORKLOAD_NAME,
    WORKLOAD_NAME,
    PromptSet,
    Workload,
    WorkloadForm,
    workload_of,
)


def test_the_full_workload_is_that_of_ai_energy_score() -> None:
    assert FULL_PLAIN.key == "aies-textgen-v1/plain/aies-1000:1000/n10/b1"
    assert FULL_TAGGED.key == "aies-textgen-v1/tagged/aies-1000:1000/n10/b1"


def test_the_smoke_workload_never_shares_a_name_with_the_full_one() -> None:
    assert SMOKE_WORKLOAD_NAME != WORKLOAD_NAME
    assert SMOKE_TAGGED.name == SMOKE_WORKLOAD_NAME
    assert SMOKE_TAGGED.prompts is not PromptSet.AI_ENERGY_SCORE


@pytest.mark.parametrize(
    "changed",
    [
        replace(FULL_TAGGED, name=SMOKE_WORKLOAD_NAME),
        replace(FULL_TAGGED, form=WorkloadForm.PLAIN),
        replace(FULL_TAGGED, prompts=PromptSet.STANDIN),
        replace(FULL_TAGGED, prompt_count=999),
        replace(FULL_TAGGED, new_tokens=11),
        replace(FULL_TAGGED, batch_size=2),
    ],
)
def test_any_difference_shows_in_the_key(changed: Workload) -> None:
    assert changed.key != FULL_TAGGED.key


@pytest.mark.parametrize("workload", [FULL_PLAIN, FULL_TAGGED, replace(FULL_PLAIN, batch_size=8)])
def test_a_key_names_its_workload(workload: Workload) -> None:
    assert workload_of(workload.key) == workload


@pytest.mark.parametrize(
    "key",
    [
        "",
        "served-load-v1/poisson/chat",
        "aies-textgen-v1/plain/aies-1000:1000/n10",
        "aies-textgen-v1/plain/aies-1000:0/n10/b1",
        "aies-textgen-v1/other/aies-1000:1000/n10/b1",
        "aies-textgen-v1/plain/other-set:1000/n10/b1",
        "aies-textgen-v1/plain/aies-1000:1000/n10/b1/more",
    ],
)
def test_what_is_no_key_of_this_kind_is_refused(key: str) -> None:
    with pytest.raises(MalformedMessageError, match="is no workload's key"):
        workload_of(key)
