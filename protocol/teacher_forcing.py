"""Re-scoring: another's answers under this model, one prefill each. Imports torch.

Prompt and answer are fed to the model at once, so that every answer token is judged given
everything before it, for a fraction of what generating it costs. Samples of similar length
share a batch; padding is on the right, where causal attention never looks. Logits are computed
at the answer's positions only.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from protocol.activations import StateRecorder, project
from protocol.errors import WorkloadError
from protocol.generation import LoadedModel, memory_watched
from protocol.ids import Nonce
from protocol.sketch import sketched_positions

BATCH_TOKENS = 768
"""Positions re-scored at once, padding included: enough to keep a core's caches busy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What somebody says that the model wrote."""

    prompt_ids: Sequence[int]
    output_ids: Sequence[int]
    nonce: Nonce | None = None
    """Picks the directions of the sketch; None where none is wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescored:
    """What the model makes of one answer."""

    margins: tuple[float, ...]
    """Per token: the largest logit less the token's own; infinite for a masked token."""
    projections: tuple[float, ...]
    """Of the hidden states, for comparison with a sketch; empty without a nonce."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Some samples as the model reads them."""

    ids: torch.Tensor
    """Shape (sample, position), padded on the right."""
    first: int
    """First position whose logits are wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefilled:
    """What the model computes for a batch, float32."""

    logits: torch.Tensor
    """From the batch's first wanted position on."""
    states: torch.Tensor
    """Final hidden states at all positions."""


Forward = Callable[[Sequence[Batch]], Iterator[Prefilled]]
"""Runs batches through a model, in order."""


def rescore(
    model: LoadedModel,
    answers: Sequence[Answer],
    *,
    forward: Forward | None = None,
    batch_tokens: int = BATCH_TOKENS,
) -> list[Rescored]:
    """How far each answered token is from this model's own choice, in logits.

    Args:
        model: The reference.
        answers: Prompt ids and answer ids, all in the vocabulary.
        forward: Runs the batches, if the model isn't in memory as a whole.
        batch_tokens: Positions per batch, at least one sample.

    Raises:
        ValueError: If a token is outside the vocabulary or a sample is empty.
        WorkloadError: If the logits are not numbers, or the device runs out of memory.
    """
    for answer in answers:
        _require_scorable(model, answer)
    groups = _batches(
        [len(answer.prompt_ids) + len(answer.output_ids) for answer in answers], batch_tokens
    )
    batches = [_batch([answers[index] for index in group]) for group in groups]
    rescored: dict[int, Rescored] = {}
    run = forward or resident_forward(model)
    with torch.inference_mode():
        for group, batch, prefilled in zip(groups, batches, run(batches), strict=True):
            for row, index in enumerate(group):
                rescored[index] = _rescored(model, answers[index], batch, prefilled, row)
    return [rescored[index] for index in range(len(answers))]


def resident_forward(model: LoadedModel) -> Forward:
    """The forward pass of a model that is in memory."""

    def forward(batches: Sequence[Batch]) -> Iterator[Prefilled]:
        for batch in batches:
            with memory_watched(batch.ids.numel()):
                prefilled = prefill(model.network, batch)
            yield prefilled

    return forward


def prefill(network: PreTrainedModel, batch: Batch) -> Prefilled:
    """One forward pass over a batch."""
    with StateRecorder(network) as recorder:
        output = network(
            input_ids=batch.ids.to(network.device),
            use_cache=False,
            logits_to_keep=batch.ids.shape[1] - batch.first,
        )
    return Prefilled(logits=output.logits.float(), states=recorder.last_states(batch.ids.shape[1]))


def _require_scorable(model: LoadedModel, answer: Answer) -> None:
    if not answer.prompt_ids or not answer.output_ids:
        raise ValueError("a sample needs a prompt and an answer")
    tokens = (*answer.prompt_ids, *answer.output_ids)
    if not all(0 <= token < model.vocabulary_size for token in tokens):
        raise ValueError("a token id is outside the vocabulary")


def _batches(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Indices in groups of similar length, each within the token budget when padded."""
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda index: lengths[index]):
        if batches and lengths[index] * (len(batches[-1]) + 1) <= batch_tokens:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


def _batch(answers: Sequence[Answer]) -> Batch:
    rows = [(*answer.prompt_ids, *answer.output_ids[:-1]) for answer in answers]
    length = max(map(len, rows))
    return Batch(
        ids=torch.tensor([row + (0,) * (length - len(row)) for row in rows]),
        first=min(len(answer.prompt_ids) for answer in answers) - 1,
    )


def _rescored(
    model: LoadedModel, answer: Answer, batch: Batch, prefilled: Prefilled, row: int
) -> Rescored:
    start = len(answer.prompt_ids) - 1 - batch.first
    logits = prefilled.logits[row, start : start + len(answer.output_ids)]
    projections: Sequence[float] = ()
    if answer.nonce is not None:
        end = len(answer.prompt_ids) + len(answer.output_ids) - 1
        count = sketched_positions(len(answer.prompt_ids), len(answer.output_ids))
        projections = project(prefilled.states[row, end - count : end], answer.nonce).tolist()
    return Rescored(
        margins=tuple(_margins(logits, answer.output_ids, model.eos_ids)),
        projections=tuple(projections),
    )


def _margins(logits: torch.Tensor, answer: Sequence[int], eos_ids: Sequence[int]) -> list[float]:
    if not bool(torch.isfinite(logits).all()):
        raise WorkloadError(
            "the model gives logits that are not numbers",
            hint="The weights or the device are broken: verify the model files.",
        )
    masked = logits.clone()
    masked[:, list(eos_ids)] = -torch.inf
    best = masked.max(dim=1).values
    chosen = masked.gather(1, torch.tensor(answer, device=logits.device)[:, None])[:, 0]
    return [float(margin) for margin in best - chosen]
