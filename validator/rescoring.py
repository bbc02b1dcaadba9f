"""Runs the assigned models on what miners say that they ran: adapter of `judging.Rescorer`.

One model is in memory at a time. Weights are verified by digest before they are used.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from protocol.errors import ConfigurationError, WorkloadError
from protocol.ids import Digest, Nonce
from protocol.messages import ModelRef
from protocol.prompts import tagged_prompt
from protocol.workload import Workload
from validator import proof
from validator.checks import Input, input_of
from validator.judging import ProofFigures, Sample
from validator.reference import Rescorer


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceModel:
    """A model on this validator's disk."""

    folder: Path
    weights_digest: Digest


class ModelRescorer:
    """Re-scores with the reference weights of several models.

    Args:
        models: What is on disk, by (id, revision).
        prompts: Texts of the workload, in order.
        workload: The workload.
        device: Torch device.
        threads: CPU threads; None leaves torch's setting.
    """

    def __init__(
        self,
        *,
        models: Mapping[tuple[str, str], ReferenceModel],
        prompts: Sequence[str],
        workload: Workload,
        device: str = "cpu",
        threads: int | None = None,
    ) -> None:
        self._models = models
        self._prompts = prompts
        self._workload = workload
        self._device, self._threads = device, threads
        self._loaded: tuple[ModelRef, Rescorer] | None = None

    def weights_digest(self, model: tuple[str, str]) -> Digest | None:
        """Digest of the weights that this validator has of a model; None if it has none."""
        held = self._models.get(model)
        return held.weights_digest if held else None

    def inputs(self, model: ModelRef, nonces: Sequence[Nonce]) -> Sequence[Input]:
        """What the model gets for each prompt of the workload, tagged by its nonce."""
        pairs = zip(nonces, self._prompts, strict=True)
        return [input_of(self._encoded(model, nonce, prompt)) for nonce, prompt in pairs]

    def prove(self, model: ModelRef, samples: Sequence[Sample]) -> ProofFigures:
        """Margins of the miner's own tokens under the model, held against the thresholds."""
        result = self._rescorer(model).prove(
            [
                proof.Sample(
                    prompt_ids=self._encoded(model, sample.nonce, self._prompts[sample.index]),
                    output_ids=sample.output_ids,
                    nonce=sample.nonce,
                    sketch=sample.sketch,
                )
                for sample in samples
            ]
        )
        return ProofFigures(
            mean_margin_micrologits=result.mean_margin_micrologits,
            exceeding_ppm=result.exceeding_ppm,
            hard_fail_count=result.hard_fail_count,
            threshold_micrologits=result.threshold_micrologits,
            thresholds_version=result.thresholds_version,
            passed=result.passed,
            closer_to=result.closer_to,
            sketch_distance_ppm=result.sketch_distance_ppm,
            sketch_threshold_ppm=result.sketch_threshold_ppm,
        )

    def _encoded(self, model: ModelRef, nonce: Nonce, prompt: str) -> tuple[int, ...]:
        text = tagged_prompt(nonce, prompt)
        return self._rescorer(model).encode(text, new_tokens=self._workload.new_tokens)

    def _rescorer(self, model: ModelRef) -> Rescorer:
        if self._loaded is None or self._loaded[0] != model:
            self._loaded = None  # frees the memory of the one before first
            self._loaded = (model, self._opened(model))
        return self._loaded[1]

    def _opened(self, model: ModelRef) -> Rescorer:
        held = self._models.get((model.id, model.revision))
        if held is None:
            raise WorkloadError(
                f"this validator has no {model.id} at {model.revision}",
                hint="Fetch it and name its folder in VALIDATOR_MODELS.",
            )
        thresholds = proof.load_thresholds()
        try:
            entry = proof.thresholds_for(
                thresholds, model=model.id, revision=model.revision, dtype=model.dtype
            )
        except ConfigurationError as error:
            raise WorkloadError(str(error), hint=error.hint) from error
        return Rescorer(
            held.folder,
            thresholds=entry,
            version=thresholds.version,
            device=self._device,
            threads=self._threads,
        )
