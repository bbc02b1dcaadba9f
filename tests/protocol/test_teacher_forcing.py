"""Re-scoring, on the small real model: whole, in batches, and streamed from disk."""

import math

import pytest
import torch

from protocol.cheap_weights import cheaper_weights, linear_weights
from protocol.generation import LoadedModel, load_verifier
from protocol.ids import Nonce
from protocol.prompts import short_standin_prompts
from protocol.streaming import StreamedModel, fits_memory
from protocol.teacher_forcing import Answer, rescore
from tests.support.model import need_smollm2, smollm2, smollm2_verifier

NEW_TOKENS = 10
PROMPTS = (*short_standin_prompts(2), "= = Early life = =", "The capital of France is")
NONCE = Nonce(bytes(range(32)))
ROUNDING = 1e-3
"""Largest honest margin (logits) between two float32 computations of one model."""

Samples = list[tuple[tuple[int, ...], tuple[int, ...]]]


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return smollm2()


@pytest.fixture(scope="module")
def runs(model: LoadedModel) -> Samples:
    prompts = [model.encode(text, new_tokens=NEW_TOKENS) for text in PROMPTS]
    return [(ids, model.generate(ids, new_tokens=NEW_TOKENS)) for ids in prompts]


def answers(samples: Samples, nonce: Nonce | None = None) -> list[Answer]:
    return [Answer(prompt_ids=ids, output_ids=out, nonce=nonce) for ids, out in samples]


def margins(model: LoadedModel, samples: Samples) -> list[tuple[float, ...]]:
    return [one.margins for one in rescore(model, answers(samples))]


def test_own_answers_have_no_margin(runs: Samples) -> None:
    found = margins(smollm2_verifier(), runs)

    assert [len(values) for values in found] == [NEW_TOKENS] * len(runs)
    assert all(0 <= margin <= ROUNDING for values in found for margin in values)


def test_margins_do_not_depend_on_who_shares_the_batch(model: LoadedModel, runs: Samples) -> None:
    shifted = [(prompt, answer[::-1]) for prompt, answer in runs]

    together = margins(model, shifted)

    for sample, values in zip(shifted, together, strict=True):
        assert values == pytest.approx(margins(model, [sample])[0], abs=ROUNDING)


def test_margins_are_those_of_the_definition(model: LoadedModel, runs: Samples) -> None:
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
    assert margins(model, [(prompt, answer)])[0] == pytest.approx(expected, abs=ROUNDING)


def test_a_masked_token_has_an_infinite_margin(model: LoadedModel, runs: Samples) -> None:
    prompt, answer = runs[0]

    found = margins(model, [(prompt, (*answer[:4], model.eos_ids[0], *answer[5:]))])[0]

    assert math.isinf(found[4])
    assert max(found[:4]) <= ROUNDING


@pytest.mark.parametrize("sample", [((5,), (49_152,)), ((-1,), (5,)), ((), (5,)), ((5,), ())])
def test_samples_that_no_model_could_score_are_refused(
    sample: tuple[tuple[int, ...], tuple[int, ...]], model: LoadedModel
) -> None:
    with pytest.raises(ValueError, match=r"vocabulary|needs"):
        margins(model, [sample])


def test_projections_do_not_depend_on_who_shares_the_batch(
    model: LoadedModel, runs: Samples
) -> None:
    together = [one.projections for one in rescore(model, answers(runs, NONCE))]

    for sample, values in zip(runs, together, strict=True):
        alone = rescore(model, answers([sample], NONCE))[0].projections
        assert len(alone) == min(24, len(sample[0]) + NEW_TOKENS - 1)
        assert values == pytest.approx(alone, abs=ROUNDING)


def test_streamed_layers_give_the_same_numbers_to_the_bit(runs: Samples) -> None:
    verifier = smollm2_verifier("bfloat16")
    streamed = StreamedModel(need_smollm2(), dtype="bfloat16", threads=1)
    assert streamed.model.encode(PROMPTS[0], new_tokens=NEW_TOKENS) == runs[0][0]

    found = rescore(streamed.model, answers(runs, NONCE), forward=streamed.forward, batch_tokens=80)

    assert found == rescore(verifier, answers(runs, NONCE), batch_tokens=80)


def test_streaming_leaves_no_weight_in_memory(runs: Samples) -> None:
    streamed = StreamedModel(need_smollm2(), dtype="float32", threads=1)

    rescore(streamed.model, answers(runs[-1:]), forward=streamed.forward)

    assert all(parameter.is_meta for parameter in streamed.model.network.parameters())


def test_cheaper_weights_are_the_same_streamed_or_whole_and_go_again(runs: Samples) -> None:
    verifier = load_verifier(need_smollm2(), dtype="bfloat16", threads=1)
    before = [weight.clone() for weight in linear_weights(verifier.network)]
    streamed = StreamedModel(need_smollm2(), dtype="bfloat16", threads=1)

    with cheaper_weights(verifier.network, "int8", "bfloat16"):
        whole = rescore(verifier, answers(runs[-1:], NONCE))
    with streamed.rounded_to("int8"):
        layered = rescore(streamed.model, answers(runs[-1:], NONCE), forward=streamed.forward)

    assert layered == whole
    assert whole != rescore(verifier, answers(runs[-1:], NONCE))
    after = list(linear_weights(verifier.network))
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_a_small_model_fits_memory() -> None:
    assert fits_memory(need_smollm2(), "cpu")
