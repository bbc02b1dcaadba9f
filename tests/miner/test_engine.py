"""The measured loop, on the small real model."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from miner.engine import TransformersEngine, choose_dtype, run_prompts
from miner.holdings import HeldModel, hold_all
from miner.ports import StoppedError
from miner.reporting import Task, build_leaves, input_digest
from protocol.errors import WorkloadError
from protocol.generation import LoadedModel
from protocol.messages import ModelRef
from protocol.model_files import cache_dir
from protocol.models import SMOLLM2_135M_PACKAGED
from protocol.nonce_chain import nonces
from protocol.prompts import short_standin_prompts, tagged_prompt
from protocol.workload import PromptSet, Workload, WorkloadForm
from tests.support.model import need_smollm2, smollm2

SEED = b"seed"


def seen_nothing(_done: int) -> None:
    """A watch that looks away."""


TEXTS = short_standin_prompts(3)


def task(form: WorkloadForm, held: HeldModel, *, prompt_count: int = 3) -> Task:
    workload = Workload(
        name="test", form=form, prompts=PromptSet.STANDIN_SHORT, prompt_count=prompt_count
    )
    return Task(model=held.ref, workload=workload, seed=SEED)


class Steps:
    """A clock and a counter that move by one at each look."""

    def __init__(self) -> None:
        self.count = -1

    def __call__(self) -> tuple[int, int | None]:
        self.count += 1
        return self.count, 10 * self.count


@dataclass
class ToyModel:
    """Answers with numbers that follow from the prompt; stands in for the slow real one."""

    lengths: list[int] = field(default_factory=list)

    def encode(self, text: str, *, new_tokens: int) -> tuple[int, ...]:
        return tuple(text.encode())

    def generate(self, ids: Sequence[int], *, new_tokens: int) -> tuple[int, ...]:
        self.lengths.append(new_tokens)
        return tuple((sum(ids) + step) % 1_000 for step in range(new_tokens))


HELD = HeldModel(
    ref=ModelRef(id="org/toy", revision="1", weights_digest="ab" * 32, dtype="float32"),
    folder=Path("toy"),
)


def engine_over(model: object) -> TransformersEngine:
    """An engine that loads this model, whatever it is."""

    def load(folder: Path, *, dtype: str, device: str, threads: int | None) -> LoadedModel:
        assert (folder, dtype, device, threads) == (HELD.folder, "float32", "cpu", 1)
        return cast(LoadedModel, model)

    return TransformersEngine(
        held=[HELD], prompts=lambda _workload: TEXTS, device="cpu", threads=1, load=load
    )


def test_a_tagged_run_chains_each_prompt_to_the_answer_before() -> None:
    seen: list[int] = []

    runs = engine_over(ToyModel()).run(task(WorkloadForm.TAGGED, HELD), Steps(), seen.append)

    chain = nonces(SEED, [run.output_ids for run in runs])
    for run, nonce, text in zip(runs, chain, TEXTS, strict=True):
        assert run.input_ids == tuple(tagged_prompt(nonce, text).encode())
        assert len(run.output_ids) == 10
    assert seen == [1, 2, 3]


def test_a_plain_run_takes_the_prompts_as_they_are() -> None:
    runs = engine_over(ToyModel()).run(task(WorkloadForm.PLAIN, HELD), Steps(), seen_nothing)

    assert [bytes(run.input_ids).decode() for run in runs] == list(TEXTS)


def test_a_run_stamps_once_per_prompt_without_gaps() -> None:
    runs = engine_over(ToyModel()).run(task(WorkloadForm.PLAIN, HELD), Steps(), seen_nothing)

    assert [(run.start, run.end) for run in runs] == [
        ((0, 0), (1, 10)),
        ((1, 10), (2, 20)),
        ((2, 20), (3, 30)),
    ]


def test_the_real_model_answers_as_a_bare_greedy_loop_does() -> None:
    model, (first, second) = smollm2(), TEXTS[:2]
    wanted = task(WorkloadForm.PLAIN, HELD, prompt_count=2)

    runs = run_prompts(model, (first, second), wanted, Steps(), seen_nothing)

    for run, text in zip(runs, (first, second), strict=True):
        inputs = model.tokenizer(text, return_tensors="pt")
        bare = model.network.generate(  # type: ignore[operator]  # transformers' mixin
            **inputs, max_new_tokens=10, min_new_tokens=10, do_sample=False, num_beams=1
        )
        assert run.input_ids == tuple(inputs["input_ids"][0].tolist())
        assert run.output_ids == tuple(bare[0, inputs["input_ids"].shape[1] :].tolist())


def test_leaves_bind_the_input_ids() -> None:
    runs = engine_over(ToyModel()).run(task(WorkloadForm.PLAIN, HELD), Steps(), seen_nothing)

    (first, *_rest) = build_leaves(runs)
    assert first.input_digest == input_digest(runs[0].input_ids)
    assert first.input_tokens == len(runs[0].input_ids)
    assert first.output_ids == runs[0].output_ids


def test_the_model_is_loaded_once_and_warmed_up_before_the_run() -> None:
    loads: list[Path] = []
    model = ToyModel()

    def load(folder: Path, **_options: object) -> LoadedModel:
        loads.append(folder)
        return cast(LoadedModel, model)

    engine = TransformersEngine(
        held=[HELD], prompts=lambda _workload: TEXTS, device="cpu", load=load
    )
    wanted = task(WorkloadForm.TAGGED, HELD)
    engine.prepare(wanted, seen_nothing)
    warm_up = list(model.lengths)
    engine.run(wanted, Steps(), seen_nothing)

    assert loads == [HELD.folder]
    assert warm_up == [10] + [2] * wanted.workload.warm_up_runs
    assert model.lengths[len(warm_up) :] == [10] * 3


def test_a_stop_ends_warm_up_and_run() -> None:
    def stop(_done: int) -> None:
        raise StoppedError("stopped")

    engine = engine_over(ToyModel())
    with pytest.raises(StoppedError):
        engine.prepare(task(WorkloadForm.TAGGED, HELD), stop)
    with pytest.raises(StoppedError):
        engine.run(task(WorkloadForm.TAGGED, HELD), Steps(), stop)


def test_a_device_that_fails_in_the_middle_is_a_workload_error() -> None:
    class Broken(ToyModel):
        def generate(self, ids: Sequence[int], *, new_tokens: int) -> tuple[int, ...]:
            raise RuntimeError("CUDA error: an illegal memory access\nmore lines")

    with pytest.raises(WorkloadError, match=r"illegal memory access$") as failure:
        engine_over(Broken()).run(task(WorkloadForm.TAGGED, HELD), Steps(), seen_nothing)

    assert "Xid" in failure.value.hint


def test_the_number_format_follows_the_device() -> None:
    assert choose_dtype("auto", "cpu") == "float32"
    assert choose_dtype("auto", "cuda:0") == "bfloat16"
    assert choose_dtype("float16", "cpu") == "float16"


def test_models_are_held_by_name_and_by_folder_alike() -> None:
    folder = str(need_smollm2())

    (held,) = hold_all([folder, folder], cache_dir() / "models", "float32")

    assert held.ref.id == SMOLLM2_135M_PACKAGED.id
    assert held.ref.weights_digest == SMOLLM2_135M_PACKAGED.weights_digest


def test_a_miner_without_models_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match="no model to offer"):
        hold_all([], tmp_path, "float32")


def test_weights_that_the_catalogue_does_not_know_are_not_offered(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"other weights")

    with pytest.raises(WorkloadError, match="no model of the catalogue"):
        hold_all([str(tmp_path)], tmp_path, "float32")
