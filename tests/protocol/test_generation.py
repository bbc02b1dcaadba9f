"""The reference run and its re-scoring, on the small real model."""

import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from protocol.errors import WorkloadError
from protocol.generation import LoadedModel, load_model
from protocol.prompts import short_standin_prompts
from tests.support.model import need_smollm2, smollm2, smollm2_verifier

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
    assert max(model.score_margins([(ids, answer)])[0]) <= ROUNDING


def test_long_prompts_are_cut_on_the_right_to_fit_the_answer(model: LoadedModel) -> None:
    ids = model.encode("river stone " * 6000, new_tokens=NEW_TOKENS)

    assert len(ids) == model.context_tokens - NEW_TOKENS == 8182
    assert model.tokenizer.decode(list(ids[:2])) == "river stone"


def test_a_text_without_tokens_is_an_error(model: LoadedModel) -> None:
    with pytest.raises(WorkloadError, match="no tokens"):
        model.encode("", new_tokens=NEW_TOKENS)


def test_own_answers_have_no_margin(runs: list[tuple[tuple[int, ...], tuple[int, ...]]]) -> None:
    margins = smollm2_verifier().score_margins(runs)

    assert [len(values) for values in margins] == [NEW_TOKENS] * len(runs)
    assert all(0 <= margin <= ROUNDING for values in margins for margin in values)


def test_margins_do_not_depend_on_who_shares_the_batch(
    model: LoadedModel, runs: list[tuple[tuple[int, ...], tuple[int, ...]]]
) -> None:
    shifted = [(prompt, answer[::-1]) for prompt, answer in runs]

    together = model.score_margins(shifted)

    for sample, values in zip(shifted, together, strict=True):
        assert values == pytest.approx(model.score_margins([sample])[0], abs=ROUNDING)


def test_margins_are_those_of_the_definition(
    model: LoadedModel, runs: list[tuple[tuple[int, ...], tuple[int, ...]]]
) -> None:
    prompt, answer = runs[0][0], runs[1][1]
    with torch.inference_mode():
        logits = model.network(input_ids=torch.tensor([[*prompt, *answer]])).logits[0]
    logits = logits.clone()
    logits[:, list(model.eos_ids)] = -math.inf
    expected = [
        float(logits[len(prompt) - 1 + place].max() - logits[len(prompt) - 1 + place, token])
        for place, token in enumerate(answer)
    ]

    assert max(expected) > 1
    assert model.score_margins([(prompt, answer)])[0] == pytest.approx(expected, abs=ROUNDING)


def test_a_masked_token_has_an_infinite_margin(
    model: LoadedModel, runs: list[tuple[tuple[int, ...], tuple[int, ...]]]
) -> None:
    prompt, answer = runs[0]

    margins = model.score_margins([(prompt, (*answer[:4], model.eos_ids[0], *answer[5:]))])[0]

    assert math.isinf(margins[4])
    assert max(margins[:4]) <= ROUNDING


@pytest.mark.parametrize("sample", [((5,), (49_152,)), ((-1,), (5,)), ((), (5,)), ((5,), ())])
def test_samples_that_no_model_could_score_are_refused(
    sample: tuple[tuple[int, ...], tuple[int, ...]], model: LoadedModel
) -> None:
    with pytest.raises(ValueError, match=r"vocabulary|needs"):
        model.score_margins([sample])


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
