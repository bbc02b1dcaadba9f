"""The small real model, for tests that run or re-score the workload."""

from functools import cache
from pathlib import Path

from protocol.errors import WorkloadError
from protocol.generation import LoadedModel, load_model, load_verifier
from protocol.model_files import cache_dir
from protocol.models import Dtype
from scripts.smollm2 import ensure_smollm2
from tests.support.needs import skip_missing


@cache
def need_smollm2() -> Path:
    """Folder of SmolLM2-135M-Instruct; fetched and converted once per machine."""
    try:
        return ensure_smollm2(cache_dir())
    except WorkloadError as error:
        skip_missing(f"the small model ({error}; {error.hint})")


@cache
def smollm2(dtype: Dtype = "float32") -> LoadedModel:
    """The model ready to run, shared by all tests of a process; don't change its weights."""
    return load_model(need_smollm2(), dtype=dtype, threads=1)


@cache
def smollm2_verifier(dtype: Dtype = "float32") -> LoadedModel:
    """The model ready to re-score, shared by all tests of a process."""
    return load_verifier(need_smollm2(), dtype=dtype, threads=1)
