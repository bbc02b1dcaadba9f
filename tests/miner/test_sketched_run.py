"""A tagged run of the small real model with sketches, held against the validator's reading."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from miner.engine import TransformersEngine
from miner.holdings import HeldModel
from miner.reporting import PromptRun, Task, build_leaves
from protocol.activations import StateRecorder
from protocol.canonical import canonical_bytes
from protocol.generation import LoadedModel
from protocol.messages import ModelRef
from protocol.nonce_chain import nonces
from protocol.prompts import short_standin_prompts
from protocol.sketch import SKETCH_POSITIONS, squared_distance, unpack_sketch
from protocol.teacher_forcing import Answer, rescore
from protocol.workload import PromptSet, Workload, WorkloadForm
from tests.support.model import smollm2, smollm2_verifier

HELD = HeldModel(
    ref=ModelRef(id="org/small", revision="1", weights_digest="ab" * 32, dtype="float32"),
    folder=Path("small"),
)
TEXTS = (*short_standin_prompts(1), "ok")
SEED = b"seed of a sketched run"


@dataclass
class Clock:
    """Stamps that move."""

    readings: list[int] = field(default_factory=lambda: [0])

    def __call__(self) -> tuple[int, int | None]:
        self.readings.append(self.readings[-1] + 1000)
        return self.readings[-1], self.readings[-1]


def run(form: WorkloadForm, *, sketch: bool) -> tuple[PromptRun, ...]:
    def load(*_: object, **__: object) -> LoadedModel:
        return smollm2()

    engine = TransformersEngine(
        held=[HELD], prompts=lambda _workload: TEXTS, device="cpu", load=load, sketch=sketch
    )
    workload = Workload(
        name="test-v1", form=form, prompts=PromptSet.STANDIN_SHORT, prompt_count=2, warm_up_runs=0
    )
    task = Task(model=HELD.ref, workload=workload, seed=SEED)
    return engine.run(task, Clock(), lambda _done: None)


@pytest.fixture(scope="module")
def runs() -> tuple[PromptRun, ...]:
    return run(WorkloadForm.TAGGED, sketch=True)


def test_a_sketch_is_what_a_validator_computes_from_the_tokens(
    runs: tuple[PromptRun, ...],
) -> None:
    chain = nonces(SEED, [one.output_ids for one in runs])
    answers = [
        Answer(prompt_ids=one.input_ids, output_ids=one.output_ids, nonce=nonce)
        for one, nonce in zip(runs, chain, strict=True)
    ]

    for one, scored in zip(runs, rescore(smollm2_verifier(), answers), strict=True):
        sketch = unpack_sketch(one.sketch or "")
        assert sketch is not None
        assert len(sketch) == min(SKETCH_POSITIONS, len(one.input_ids) + 9)
        assert squared_distance(sketch, scored.projections) < 0.3


def test_leaves_carry_the_sketches(runs: tuple[PromptRun, ...]) -> None:
    leaves = build_leaves(runs)

    assert [leaf.sketch for leaf in leaves] == [one.sketch for one in runs]
    assert f'"sketch":"{runs[0].sketch}"'.encode() in canonical_bytes(leaves[0])


def test_a_run_without_sketches_writes_the_same_tokens_and_no_field(
    runs: tuple[PromptRun, ...],
) -> None:
    bare = run(WorkloadForm.TAGGED, sketch=False)

    assert [one.output_ids for one in bare] == [one.output_ids for one in runs]
    assert b"sketch" not in canonical_bytes(build_leaves(bare)[0])


def test_plain_runs_have_no_nonce_and_so_no_sketch() -> None:
    assert all(one.sketch is None for one in run(WorkloadForm.PLAIN, sketch=True))


def test_no_hook_stays_on_the_model(runs: tuple[PromptRun, ...]) -> None:
    assert runs
    assert not smollm2().network.base_model._forward_hooks
    with StateRecorder(smollm2().network):
        assert smollm2().network.base_model._forward_hooks
