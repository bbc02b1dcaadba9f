"""The reference run, on the small real model."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from protocol.errors import WorkloadError
from protocol.generation import LoadedModel, load_encoder, load_model
from protocol.prompts import short_standin_prompts
from protocol.teacher_forcing import Answer, rescore
from tests.support.model import need_smollm2, smollm2

NEW_TOKENS = 10
PROMPTS = (*short_standin_prompts(2), "= = Early life = =", "The capital of France is")
ENDS_AT_ONCE = "<|im_start|>user\nSay nothing.<|im_end|>\n<|im_start|>assistant\nOk.<|im_end|>"
ROUNDING = 1e-3
"""Largest honest margin (logits) between two float32 computations of one model."""


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return smollm2()


@pytest.fixture(scope="module")
def runs(model: LoadedModel) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    prompts = [model.encode(text, new_tokens=NEW_TOKENS) for text in PROMPTS]
    return [(ids, model.generate(ids, new_tokens=NEW_TOKENS)) for ids in prompts]


def test_answers_are_those_of_a_bare_transformers_loop(
    runs: list[tuple[tuple[int, ...], tuple[int, ...]]],
) -> None:
    folder = need_smollm2()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    bare = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)

    for text, (prompt, answer) in zip(PROMPTS[1:], runs[1:], strict=True):
        inputs = tokenizer(text, return_tensors="pt")
        output = bare.generate(  # type: ignore[misc]  # its stub binds self twice
            **inputs, max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS, do_sample=False
        )
        assert output[0].tolist() == [*prompt, *answer]


def test_answers_are_the_same_on_every_run_and_with_two_threads(
    model: LoadedModel, runs: list[tuple[tuple[int, ...], tuple[int, ...]]]
) -> None:
    prompt, answer = runs[-1]
    torch.set_num_threads(2)
    try:
        threaded = model.generate(prompt, new_tokens=3)
    finally:
        torch.set_num_threads(1)

    assert threaded == answer[:3]
    assert model.generate(prompt, new_tokens=NEW_TOKENS) == answer


def test_the_answer_goes_on_where_the_model_would_end(model: LoadedModel) -> None:
    ids = model.encode(ENDS_AT_ONCE + "\n<|im_start|>assistant\nYes.", new_tokens=NEW_TOKENS)

    answer = model.generate(ids, new_tokens=NEW_TOKENS)

    with torch.inference_mode():
        best = model.network(input_ids=torch.tensor([ids])).logits[0, -1].argmax()
    assert int(best) in model.eos_ids
    assert len(answer) == NEW_TOKENS
    assert not set(answer) & set(model.eos_ids)
    margins = rescore(model, [Answer(prompt_ids=ids, output_ids=answer)])[0].margins
    assert max(margins) <= ROUNDING


def test_long_prompts_are_cut_on_the_right_to_fit_the_answer(model: LoadedModel) -> None:
    ids = model.encode("river stone " * 6000, new_tokens=NEW_TOKENS)

    assert len(ids) == model.context_tokens - NEW_TOKENS == 8182
    assert model.tokenizer.decode(list(ids[:2])) == "river stone"


def test_answers_in_a_batch_are_those_of_one_at_a_time(
    model: LoadedModel, runs: list[tuple[tuple[int, ...], tuple[int, ...]]]
) -> None:
    prompts, answers = zip(*runs, strict=True)

    assert len({len(prompt) for prompt in prompts}) > 1
    assert model.generate_batch(prompts, new_tokens=NEW_TOKENS) == answers


def test_a_model_without_a_padding_token_runs_alone_and_in_batches(
    runs: list[tuple[tuple[int, ...], tuple[int, ...]]], tmp_path: Path
) -> None:
    for file in need_smollm2().iterdir():
        if "token" in file.name:
            text = file.read_text(encoding="utf-8")
            (tmp_path / file.name).write_text(text.replace('"pad_token"', '"no_pad_token"'))
        else:
            (tmp_path / file.name).symlink_to(file)
    padless = load_model(tmp_path, dtype="float32", threads=1)

    (first, answer), (second, _) = runs[:2]
    assert padless.tokenizer.pad_token is None
    assert padless.generate(first, new_tokens=2) == answer[:2]
    assert padless.generate_batch((first, second), new_tokens=2)[0] == answer[:2]


def test_a_tokenizer_without_weights_encodes_alike(model: LoadedModel) -> None:
    encoder = load_encoder(need_smollm2())

    assert encoder.eos_ids == model.eos_ids
    assert encoder.context_tokens == model.context_tokens
    for text in (*PROMPTS, "river stone " * 6000):
        encoded = encoder.encode(text, new_tokens=NEW_TOKENS)
        assert encoded == model.encode(text, new_tokens=NEW_TOKENS)


def test_a_context_without_room_for_a_prompt_is_an_error(model: LoadedModel) -> None:
    short = replace(model, context_tokens=NEW_TOKENS)

    with pytest.raises(WorkloadError, match="no room for a prompt") as caught:
        short.encode("any text", new_tokens=NEW_TOKENS)
    assert "longer context" in caught.value.hint


def test_a_prompt_longer_than_the_context_is_cut_to_fit(model: LoadedModel) -> None:
    short = replace(model, context_tokens=NEW_TOKENS + 3)

    assert len(short.encode(PROMPTS[0], new_tokens=NEW_TOKENS)) == 3


@pytest.mark.parametrize(
    "failure",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:125] DefaultCPUAllocator: can't allocate memory"
        ),
        MemoryError(),
    ],
)
def test_too_little_memory_in_the_middle_names_the_prompt(
    model: LoadedModel, failure: Exception
) -> None:
    def fail(**_inputs: object) -> None:
        raise failure

    full = replace(
        model, network=cast(PreTrainedModel, SimpleNamespace(device="cpu", generate=fail))
    )

    with pytest.raises(WorkloadError, match="too little memory for a prompt of 3 tokens") as caught:
        full.generate((1, 2, 3), new_tokens=NEW_TOKENS)
    assert "smaller model" in caught.value.hint


def test_a_model_that_is_spread_onto_the_host_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def offloaded(*_args: object, **_options: object) -> object:
        return SimpleNamespace(hf_device_map={"model.layers.0": 0, "model.layers.1": "cpu"})

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", offloaded)

    with pytest.raises(WorkloadError, match="a part of it would run elsewhere"):
        load_model(need_smollm2(), dtype="float32", device="auto")


def test_layers_can_be_spread_over_whatever_there_is(
    runs: list[tuple[tuple[int, ...], tuple[int, ...]]],
) -> None:
    spread = load_model(need_smollm2(), dtype="float32", device="auto", threads=1)

    prompt, answer = runs[0]
    assert spread.generate(prompt, new_tokens=2) == answer[:2]


def test_a_text_without_tokens_is_an_error(model: LoadedModel) -> None:
    with pytest.raises(WorkloadError, match="no tokens"):
        model.encode("", new_tokens=NEW_TOKENS)


def test_an_empty_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match="no usable model") as caught:
        load_model(tmp_path, dtype="float32")
    assert "Fetch" in caught.value.hint


def test_damaged_weights_are_no_model(tmp_path: Path) -> None:
    for file in need_smollm2().iterdir():
        (tmp_path / file.name).symlink_to(file)
    weights = tmp_path / "model.safetensors"
    weights.unlink()
    weights.write_bytes(b"\xff" * 1000)

    with pytest.raises(WorkloadError, match="no usable model"):
        load_model(tmp_path, dtype="float32")
