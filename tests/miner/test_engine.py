"""The measured loop: the same for every engine, and on the small real model."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from miner import vllm_engine
from miner.engine import PromptEngine, TransformersEngine, choose_dtype, run_prompts
from miner.engines import build_engine
from miner.holdings import HeldModel, hold_all
from miner.ports import StoppedError
from miner.reporting import Task, build_leaves, input_digest
from protocol.errors import ConfigurationError, WorkloadError
from protocol.generation import LoadedModel, TextEncoder
from protocol.messages import ModelRef
from protocol.model_files import cache_dir
from protocol.models import SMOLLM2_135M_PACKAGED
from protocol.nonce_chain import nonces
from protocol.prompts import short_standin_prompts, tagged_prompt
from protocol.workload import PromptSet, Workload, WorkloadForm
from tests.support.fake_vllm import FakeLlm, installed_vllm
from tests.support.model import need_smollm2, smollm2

SEED = b"seed"


def seen_nothing(_done: int) -> None:
    """A watch that looks away."""


TEXTS = short_standin_prompts(3)


def task(
    form: WorkloadForm, held: HeldModel, *, prompt_count: int = 3, batch_size: int = 1
) -> Task:
    workload = Workload(
        name="test",
        form=form,
        prompts=PromptSet.STANDIN_SHORT,
        prompt_count=prompt_count,
        batch_size=batch_size,
    )
    return Task(model=held.ref, workload=workload, seed=SEED)


class Steps:
    """A clock and a counter that move by one at each look."""

    def __init__(self) -> None:
        self.count = -1

    def __call__(self) -> tuple[int, int | None]:
        self.count += 1
        return self.count, 10 * self.count


Answers = tuple[tuple[int, ...], ...]


def toy_answer(ids: Sequence[int], new_tokens: int) -> tuple[int, ...]:
    """Numbers that follow from the prompt."""
    return tuple((sum(ids) + step) % 1_000 for step in range(new_tokens))


@dataclass
class ToyModel:
    """Answers with numbers that follow from the prompt; stands in for the slow real one."""

    batches: list[tuple[int, int]] = field(default_factory=list)
    """(prompts, new tokens) of each batch."""

    def encode(self, text: str, *, new_tokens: int) -> tuple[int, ...]:
        return tuple(text.encode())

    def generate_batch(self, prompts: Sequence[Sequence[int]], *, new_tokens: int) -> Answers:
        self.batches.append((len(prompts), new_tokens))
        return tuple(toy_answer(ids, new_tokens) for ids in prompts)


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


@pytest.fixture(params=["transformers", "vllm"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> PromptEngine:
    """Each engine over the same toy model."""
    if request.param == "transformers":
        return engine_over(ToyModel())
    installed_vllm(monkeypatch, FakeLlm(toy_answer))
    monkeypatch.setattr(vllm_engine, "load_encoder", lambda _folder: toy_encoder())
    return vllm_engine.VllmEngine(
        held=[HELD], prompts=lambda _workload: TEXTS, device="cuda:0", gpu_count=1
    )


def toy_encoder() -> TextEncoder:
    """What `load_encoder` would give for the toy model."""
    return cast(TextEncoder, ToyEncoder())


@dataclass
class ToyEncoder:
    """Bytes as tokens."""

    eos_ids: tuple[int, ...] = (2, 7)
    context_tokens: int = 100_000

    def encode(self, text: str, *, new_tokens: int) -> tuple[int, ...]:
        return tuple(text.encode())


def test_a_tagged_run_chains_each_prompt_to_the_answer_before(engine: PromptEngine) -> None:
    seen: list[int] = []

    runs = engine.run(task(WorkloadForm.TAGGED, HELD), Steps(), seen.append)

    chain = nonces(SEED, [run.output_ids for run in runs])
    for run, nonce, text in zip(runs, chain, TEXTS, strict=True):
        assert run.input_ids == tuple(tagged_prompt(nonce, text).encode())
        assert len(run.output_ids) == 10
    assert seen == [1, 2, 3]


def test_a_plain_run_takes_the_prompts_as_they_are(engine: PromptEngine) -> None:
    runs = engine.run(task(WorkloadForm.PLAIN, HELD), Steps(), seen_nothing)

    assert [bytes(run.input_ids).decode() for run in runs] == list(TEXTS)


def test_a_run_stamps_once_per_prompt_without_gaps(engine: PromptEngine) -> None:
    runs = engine.run(task(WorkloadForm.PLAIN, HELD), Steps(), seen_nothing)

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


def test_leaves_bind_the_input_ids(engine: PromptEngine) -> None:
    runs = engine.run(task(WorkloadForm.PLAIN, HELD), Steps(), seen_nothing)

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
    warm_up = list(model.batches)
    engine.run(wanted, Steps(), seen_nothing)

    assert loads == [HELD.folder]
    assert warm_up == [(1, 10)] + [(1, 2)] * wanted.workload.warm_up_runs
    assert model.batches[len(warm_up) :] == [(1, 10)] * 3


def test_a_batched_run_gives_each_prompt_its_own_tag_and_chains_the_batches(
    engine: PromptEngine,
) -> None:
    seen: list[int] = []
    wanted = task(WorkloadForm.TAGGED, HELD, batch_size=2)

    runs = engine.run(wanted, Steps(), seen.append)

    chain = nonces(SEED, [run.output_ids for run in runs], batch_size=2)
    for run, nonce, text in zip(runs, chain, TEXTS, strict=True):
        assert run.input_ids == tuple(tagged_prompt(nonce, text).encode())
    assert seen == [2, 3]
    assert [(run.start[0], run.end[0]) for run in runs] == [(0, 1), (0, 1), (1, 2)]


def test_the_prefill_pass_feeds_the_same_inputs_for_one_token() -> None:
    model, seen = ToyModel(), list[int]()
    wanted = task(WorkloadForm.TAGGED, HELD, batch_size=2)

    engine_over(model).prefill(wanted, [(1, 2), (3,), (4, 5)], seen.append)

    assert model.batches == [(2, 1), (1, 1)]
    assert seen == [2, 3]


def test_both_engines_answer_alike_under_their_own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    installed_vllm(monkeypatch, FakeLlm(toy_answer))
    monkeypatch.setattr(vllm_engine, "load_encoder", lambda _folder: toy_encoder())
    ours = engine_over(ToyModel())
    theirs = vllm_engine.VllmEngine(
        held=[HELD], prompts=lambda _workload: TEXTS, device="cuda:0", gpu_count=1
    )
    wanted = task(WorkloadForm.TAGGED, HELD)

    assert (ours.name, theirs.name) == ("transformers", "vllm")
    assert ours.run(wanted, Steps(), seen_nothing) == theirs.run(wanted, Steps(), seen_nothing)


def test_vllm_is_asked_for_the_workload_and_for_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeLlm(toy_answer)
    installed_vllm(monkeypatch, fake)
    monkeypatch.setattr(vllm_engine, "load_encoder", lambda _folder: toy_encoder())

    model = vllm_engine.load_vllm(HELD, parallel=4)
    model.generate_batch([(1, 2)], new_tokens=10)

    assert fake.options["model"] == "toy"
    assert fake.options["dtype"] == "float32"
    assert fake.options["tensor_parallel_size"] == 4
    assert fake.options["enable_prefix_caching"] is False
    assert fake.options["max_model_len"] == vllm_engine.LENGTH_LIMIT
    (asked,) = fake.asked
    assert (asked.temperature, asked.max_tokens, asked.min_tokens) == (0.0, 10, 10)
    assert asked.stop_token_ids == [2, 7]


@pytest.mark.parametrize("failure", [ValueError("prompt too long"), RuntimeError("dead")])
def test_a_vllm_that_fails_is_a_workload_error(
    monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def fail(_ids: Sequence[int], _new_tokens: int) -> tuple[int, ...]:
        raise failure

    installed_vllm(monkeypatch, FakeLlm(fail))
    monkeypatch.setattr(vllm_engine, "load_encoder", lambda _folder: toy_encoder())
    model = vllm_engine.load_vllm(HELD, parallel=1)

    with pytest.raises(WorkloadError, match=f"vllm failed: {failure}"):
        model.generate_batch([(1, 2)], new_tokens=10)


def test_a_vllm_that_stops_early_is_a_workload_error(monkeypatch: pytest.MonkeyPatch) -> None:
    installed_vllm(monkeypatch, FakeLlm(lambda ids, count: toy_answer(ids, count - 1)))
    monkeypatch.setattr(vllm_engine, "load_encoder", lambda _folder: toy_encoder())

    with pytest.raises(WorkloadError, match="other lengths than 10 tokens"):
        vllm_engine.load_vllm(HELD, parallel=1).generate_batch([(1, 2)], new_tokens=10)


def test_a_vllm_that_is_not_installed_is_named() -> None:
    with pytest.raises(ConfigurationError, match="vllm is not installed") as caught:
        build_engine("vllm", held=[HELD], prompts=lambda _workload: TEXTS, device="cuda:0")
    assert "pip install vllm" in caught.value.hint


@pytest.mark.parametrize(("device", "gpu_count"), [("cpu", 1), ("cuda:1", 2), ("cuda:0", 0)])
def test_vllm_refuses_devices_that_it_cannot_be_given(
    monkeypatch: pytest.MonkeyPatch, device: str, gpu_count: int
) -> None:
    installed_vllm(monkeypatch, FakeLlm(toy_answer))

    with pytest.raises(ConfigurationError, match="does not run on the device"):
        vllm_engine.VllmEngine(
            held=[HELD], prompts=lambda _workload: TEXTS, device=device, gpu_count=gpu_count
        )


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
        def generate_batch(self, prompts: Sequence[Sequence[int]], *, new_tokens: int) -> Answers:
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
