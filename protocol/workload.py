"""The fixed text-generation task, and the key under which its figures may be compared.

`aies-textgen-v1` has the semantics of AI Energy Score v1 (February 2025): raw text, greedy,
exactly 10 new tokens, truncation to the context length less 10. `plain` is exactly that;
`tagged` puts a tag derived from the nonce chain before each prompt, so that a run can be
neither replayed, precomputed, batched nor prefix-cached.

The key starts with the workload's name, so another kind of task (a served load, say) can
join under a name of its own. The batch size is part of it: 1 is AI Energy Score's and the
rounds'; in a larger batch prompts are padded on the left, and the nonce chain has one link per
batch (`protocol.nonce_chain`).
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from protocol.errors import MalformedMessageError

WORKLOAD_NAME = "aies-textgen-v1"
SMOKE_WORKLOAD_NAME = "aies-textgen-v1-smoke"
"""A shortened workload for demo and tests; by another name, so never ranked with the full one."""


_KEY = re.compile(
    r"(?P<name>[a-z0-9-]+)/(?P<form>[a-z]+)/(?P<prompts>[a-z0-9-]+):(?P<count>[1-9]\d{0,5})"
    r"/n(?P<tokens>[1-9]\d{0,4})/b(?P<batch>[1-9]\d{0,3})"
)

WARM_UP_TOKENS = 2
"""New tokens of a short warm-up run (AI Energy Score v1)."""


class WorkloadForm(StrEnum):
    """How the prompts are put to the model."""

    PLAIN = "plain"
    """The public prompts as they are; comparable with AI Energy Score, proves nothing."""
    TAGGED = "tagged"
    """Each prompt behind a fresh tag of the nonce chain; what rounds score."""


class PromptSet(StrEnum):
    """Which texts."""

    AI_ENERGY_SCORE = "aies-1000"
    """The public AI Energy Score texts, checked against their digest, never vendored."""
    STANDIN = "standin-v1"
    """Our own generated texts; never rankable with the real set."""
    STANDIN_SHORT = "standin-v1-short"
    """The generator's short texts (20 to 60 tokens), for demo and tests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One workload, complete: two runs compare only if all of this is equal."""

    name: str
    form: WorkloadForm
    prompts: PromptSet
    prompt_count: int
    """Prompts 0 to `prompt_count - 1` of the set, in order."""
    new_tokens: int = 10
    """Tokens generated per prompt: the minimum is the maximum."""
    batch_size: int = 1
    """Prompts that are answered together; the last batch may be smaller."""
    warm_up_runs: int = 10
    """Runs of `WARM_UP_TOKENS` before the window, after one full answer (AI Energy Score v1)."""

    @property
    def key(self) -> str:
        """The workload's name in reports, cells and records."""
        return (
            f"{self.name}/{self.form}/{self.prompts}:{self.prompt_count}"
            f"/n{self.new_tokens}/b{self.batch_size}"
        )


def workload_of(key: str) -> Workload:
    """The workload that a key names; its warm-up is the full one's.

    Raises:
        MalformedMessageError: If it is no key of this kind of workload.
    """
    found = _KEY.fullmatch(key)
    try:
        if found is None:
            raise ValueError("another shape")
        return Workload(
            name=found["name"],
            form=WorkloadForm(found["form"]),
            prompts=PromptSet(found["prompts"]),
            prompt_count=int(found["count"]),
            new_tokens=int(found["tokens"]),
            batch_size=int(found["batch"]),
        )
    except ValueError as error:
        raise MalformedMessageError(f"{key[:80]!r} is no workload's key: {error}") from error


FULL_TAGGED = Workload(
    name=WORKLOAD_NAME,
    form=WorkloadForm.TAGGED,
    prompts=PromptSet.AI_ENERGY_SCORE,
    prompt_count=1000,
)
FULL_PLAIN = Workload(
    name=WORKLOAD_NAME,
    form=WorkloadForm.PLAIN,
    prompts=PromptSet.AI_ENERGY_SCORE,
    prompt_count=1000,
)
SMOKE_TAGGED = Workload(
    name=SMOKE_WORKLOAD_NAME,
    form=WorkloadForm.TAGGED,
    prompts=PromptSet.STANDIN_SHORT,
    prompt_count=4,
    warm_up_runs=1,
)
