"""Re-scoring on the small real model: honest answers pass, others fail, gaps are our own."""

from functools import cache

import pytest

from protocol.errors import WorkloadError
from protocol.ids import Digest, Nonce
from protocol.messages import ModelRef
from protocol.models import SMOLLM2_135M_PACKAGED
from protocol.networks import DEVNET
from protocol.nonce_chain import first_nonce, next_nonce
from protocol.prompts import short_standin_prompts, tagged_prompt
from tests.support.model import need_smollm2, smollm2
from validator.checks import input_of
from validator.judging import Sample
from validator.rescoring import ModelRescorer, ReferenceModel

DIGEST = Digest("ab" * 32)
MODEL = ModelRef(
    id=SMOLLM2_135M_PACKAGED.id,
    revision=SMOLLM2_135M_PACKAGED.revision,
    weights_digest=DIGEST,
    dtype="float32",
)
KEY = (MODEL.id, MODEL.revision)
NEW_TOKENS = DEVNET.workload.new_tokens
PROMPTS = short_standin_prompts(2)


@cache
def rescorer() -> ModelRescorer:
    held = ReferenceModel(folder=need_smollm2(), weights_digest=DIGEST)
    return ModelRescorer(models={KEY: held}, prompts=PROMPTS, workload=DEVNET.workload, threads=1)


@cache
def honest_samples() -> tuple[Sample, ...]:
    """Two prompts answered by the model itself, along the nonce chain."""
    nonce, samples = first_nonce(b"seed"), []
    for index, prompt in enumerate(PROMPTS):
        ids = smollm2().encode(tagged_prompt(nonce, prompt), new_tokens=NEW_TOKENS)
        answer = smollm2().generate(ids, new_tokens=NEW_TOKENS)
        samples.append(Sample(index=index, nonce=nonce, output_ids=answer))
        nonce = next_nonce(nonce, answer)
    return tuple(samples)


def test_inputs_are_what_an_honest_miner_feeds_to_the_model() -> None:
    nonces = [sample.nonce for sample in honest_samples()]

    found = rescorer().inputs(MODEL, nonces)

    wanted = [
        input_of(smollm2().encode(tagged_prompt(nonce, prompt), new_tokens=NEW_TOKENS))
        for nonce, prompt in zip(nonces, PROMPTS, strict=True)
    ]
    assert found == wanted


def test_the_models_own_answers_pass() -> None:
    figures = rescorer().prove(MODEL, honest_samples())

    assert figures.passed
    assert figures.hard_fail_count == 0
    assert figures.mean_margin_micrologits <= figures.threshold_micrologits


@pytest.mark.parametrize("token", [17, 10**6])
def test_other_tokens_fail(token: int) -> None:
    forged = [
        Sample(index=sample.index, nonce=sample.nonce, output_ids=(token,) * NEW_TOKENS)
        for sample in honest_samples()
    ]

    figures = rescorer().prove(MODEL, forged)

    assert not figures.passed
    assert figures.hard_fail_count == len(forged)


def test_the_answers_of_another_round_fail() -> None:
    moved = [
        Sample(index=sample.index, nonce=Nonce(bytes(32)), output_ids=sample.output_ids[::-1])
        for sample in honest_samples()
    ]

    assert not rescorer().prove(MODEL, moved).passed


def test_a_model_that_the_validator_lacks_is_its_own_trouble() -> None:
    other = MODEL.model_copy(update={"id": "someone/else"})

    with pytest.raises(WorkloadError, match="has no someone/else") as caught:
        rescorer().inputs(other, [Nonce(bytes(32))] * 2)

    assert "VALIDATOR_MODELS" in caught.value.hint
    assert rescorer().weights_digest(("someone/else", "1")) is None
    assert rescorer().weights_digest(KEY) == DIGEST


def test_a_format_without_thresholds_is_its_own_trouble() -> None:
    half = MODEL.model_copy(update={"dtype": "float16"})

    with pytest.raises(WorkloadError, match="thresholds"):
        rescorer().inputs(half, [Nonce(bytes(32))] * 2)
