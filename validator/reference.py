"""The reference model, run on a miner's own tokens: what `validator.proof` judges.

Imports torch when it is first asked for something.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from validator.proof import (
    ProofResult,
    ProofThresholds,
    Sample,
    judge_cheaper,
    judge_margins,
    judge_sketches,
    sketch_distance_ppm,
)

if TYPE_CHECKING:
    from protocol.generation import LoadedModel
    from protocol.streaming import StreamedModel
    from protocol.teacher_forcing import Rescored


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """A model in memory, or its structure with the layers on disk."""

    model: "LoadedModel"
    layers: "StreamedModel | None" = None


class Rescorer:
    """Re-scores answers under one model's reference weights; loads them when first asked.

    A model that does not fit the device's memory is read layer by layer instead, once for all
    samples. Calls block for as long as the arithmetic takes, so run them in a thread; two at
    once wait for each other.

    Args:
        folder: The model's files, already verified.
        thresholds: Of this model and number format.
        version: Of the thresholds file.
        device: Torch device.
        threads: CPU threads; None leaves torch's setting.
        streamed: Whether to read layers from disk; None decides by the free memory.
    """

    def __init__(
        self,
        folder: Path,
        *,
        thresholds: ProofThresholds,
        version: str,
        device: str = "cpu",
        threads: int | None = None,
        streamed: bool | None = None,
    ) -> None:
        self._folder = folder
        self._thresholds = thresholds
        self._version = version
        self._device = device
        self._threads = threads
        self._streamed = streamed
        self._lock = threading.Lock()
        self._opened: _Opened | None = None

    def encode(self, text: str, *, new_tokens: int) -> tuple[int, ...]:
        """Token ids of a tagged prompt, as an honest miner feeds them to the model."""
        with self._lock:
            return self._loaded().model.encode(text, new_tokens=new_tokens)

    def prove(self, samples: Sequence[Sample]) -> ProofResult:
        """Whether the declared model wrote the sampled answers.

        Token ids outside the vocabulary fail their prompt: no model writes them.

        Raises:
            ValueError: If there are no samples, or fewer than were calibrated for.
            WorkloadError: If the model can't be loaded or its arithmetic fails.
        """
        with self._lock:
            rescored = self._rescored(self._loaded(), samples)
            cheaper = {name: self._cheaper(name, samples) for name in self._thresholds.cheaper}
        margins = [one.margins for one in rescored]
        result = judge_cheaper(
            judge_margins(margins, self._thresholds, version=self._version),
            margins,
            cheaper,
            self._thresholds,
        )
        distances = [
            None if sample.sketch is None else sketch_distance_ppm(sample.sketch, one.projections)
            for sample, one in zip(samples, rescored, strict=True)
        ]
        return judge_sketches(result, distances, self._thresholds)

    def _loaded(self) -> "_Opened":
        if self._opened is None:
            self._opened = self._open()
        return self._opened

    def _open(self) -> "_Opened":
        from protocol.generation import load_verifier  # noqa: PLC0415 - seconds to import
        from protocol.streaming import StreamedModel, fits_memory  # noqa: PLC0415 - the same

        dtype, threads = self._thresholds.dtype, self._threads
        streamed = self._streamed
        if streamed is None:
            streamed = not fits_memory(self._folder, self._device)
        if streamed:
            layers = StreamedModel(self._folder, dtype=dtype, device=self._device, threads=threads)
            return _Opened(model=layers.model, layers=layers)
        model = load_verifier(self._folder, dtype=dtype, device=self._device, threads=threads)
        return _Opened(model=model)

    def _cheaper(self, name: str, samples: Sequence[Sample]) -> list[tuple[float, ...]]:
        """Margins of the same samples under the weights of a cheaper format."""
        from protocol.cheap_weights import cheaper_weights  # noqa: PLC0415 - imports torch

        opened = self._loaded()
        if opened.layers is not None:
            weights = opened.layers.rounded_to(name)
        else:
            weights = cheaper_weights(opened.model.network, name, opened.model.dtype)
        with weights:
            return [one.margins for one in self._rescored(opened, samples)]

    @staticmethod
    def _rescored(opened: "_Opened", samples: Sequence[Sample]) -> list["Rescored"]:
        from protocol.teacher_forcing import (  # noqa: PLC0415 - imports torch
            Answer,
            Rescored,
            rescore,
        )

        answers = {
            index: Answer(
                prompt_ids=sample.prompt_ids, output_ids=sample.output_ids, nonce=sample.nonce
            )
            for index, sample in enumerate(samples)
            if sample.output_ids
            and all(0 <= token < opened.model.vocabulary_size for token in sample.output_ids)
        }
        forward = opened.layers.forward if opened.layers else None
        found = rescore(opened.model, list(answers.values()), forward=forward)
        scored = dict(zip(answers, found, strict=True))
        unscorable = [
            Rescored(margins=(float("inf"),) * max(1, len(sample.output_ids)), projections=())
            for sample in samples
        ]
        return [scored.get(index, failed) for index, failed in enumerate(unscorable)]
