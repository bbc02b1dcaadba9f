"""The fixed text-generation task, and the key under which its figures may be compared.

`aies-textgen-v1` has the semantics of AI Energy Score v1 (February 2025): raw text, greedy,
exactly 10 new tokens, truncation to the context length less 10. `plain` is exactly that;
`tagged` puts a tag derived from the nonce chain before each prompt, so that a run can be
neither replayed, precomputed, batched nor prefix-cached.
"""

from dataclasses import dataclass
from enum import StrEnum

WORKLOAD_NAME = "aies-textgen-v1"
SMOKE_WORKLOAD_NAME = "aies-textgen-v1-smoke"
"""A shortened workload for demo and tests; by another name, so never ranked with the full one."""


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
    warm_up_runs: int = 10
    """Runs of `WARM_UP_TOKENS` before the window, after one full answer (AI Energy Score v1)."""

    @property
    def key(self) -> str:
        """The workload's name in reports, cells and records."""
        return (
            f"{self.name}/{self.form}/{self.prompts}:{self.prompt_count}"
            f"/n{self.new_tokens}/b{self.batch_size}"
        )


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
