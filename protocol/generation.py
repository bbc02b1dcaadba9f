"""The reference run of the workload, and the models that it takes.

Imports torch and transformers, as `activations`, `teacher_forcing` and `streaming` do: import
them inside the function that needs them. Miner and validator run the same code: greedy
decoding, batch 1, scaled-dot-product attention, exactly as many new tokens as asked. The
end-of-sequence token is masked throughout (minimum = maximum new tokens), in the run and in
the re-scoring alike.

A model's own sampling defaults (temperature, repetition penalty) do not apply: the workload
is plain greedy decoding for every model.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from protocol.errors import WorkloadError
from protocol.models import Dtype

DEFAULT_CONTEXT_TOKENS = 512
"""Context assumed for a model that states none (AI Energy Score v1)."""

_DTYPES: dict[Dtype, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

TokenIds = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextEncoder:
    """A model's tokenizer without its weights, for engines that load these themselves."""

    tokenizer: PreTrainedTokenizerBase
    eos_ids: TokenIds
    """Tokens that end an answer."""
    context_tokens: int
    """Positions that the model has for prompt and answer together."""

    def encode(self, text: str, *, new_tokens: int) -> TokenIds:
        """`LoadedModel.encode`: the same ids for the same text."""
        return _encoded(self.tokenizer, text, self.context_tokens - new_tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model in memory, ready to run the workload or to re-score another's answers."""

    network: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    eos_ids: TokenIds
    """Tokens that end an answer, masked as long as the minimum is not reached."""
    vocabulary_size: int
    """Number of token ids; valid ones are 0 to this less 1."""
    context_tokens: int
    """Positions that the model has for prompt and answer together."""
    dtype: Dtype

    def encode(self, text: str, *, new_tokens: int) -> TokenIds:
        """Token ids of a text, cut on the right so that the answer fits the context.

        Raises:
            WorkloadError: If nothing is left to feed to the model.
        """
        return _encoded(self.tokenizer, text, self.context_tokens - new_tokens)

    def generate(self, ids: Sequence[int], *, new_tokens: int) -> TokenIds:
        """The greedy answer: exactly `new_tokens` token ids, without the prompt.

        Returns when the device has finished: reading the ids synchronises.

        Raises:
            WorkloadError: If the device runs out of memory.
        """
        inputs = torch.tensor([ids], device=self.network.device)
        return self._answers(inputs, torch.ones_like(inputs), new_tokens)[0]

    def generate_batch(
        self, prompts: Sequence[Sequence[int]], *, new_tokens: int
    ) -> tuple[TokenIds, ...]:
        """The greedy answers to several prompts at once, in order.

        Shorter prompts are padded on the left and the padding is masked, so a tokenizer needs
        no padding token. A batch of one is `generate`.

        Raises:
            WorkloadError: If the device runs out of memory.
        """
        if len(prompts) == 1:
            return (self.generate(prompts[0], new_tokens=new_tokens),)
        length = max(map(len, prompts))
        missing = [length - len(ids) for ids in prompts]
        rows = [(0,) * gap + tuple(ids) for gap, ids in zip(missing, prompts, strict=True)]
        masks = [(0,) * gap + (1,) * (length - gap) for gap in missing]
        device = self.network.device
        return self._answers(
            torch.tensor(rows, device=device), torch.tensor(masks, device=device), new_tokens
        )

    def _answers(
        self, inputs: torch.Tensor, mask: torch.Tensor, new_tokens: int
    ) -> tuple[TokenIds, ...]:
        with memory_watched(inputs.numel()), torch.inference_mode():
            output = self.network.generate(  # type: ignore[operator]
                input_ids=inputs,
                attention_mask=mask,
                max_new_tokens=new_tokens,
                min_new_tokens=new_tokens,
            )
            return tuple(tuple(row) for row in output[:, inputs.shape[1] :].tolist())


def load_model(
    folder: Path, *, dtype: Dtype, device: str = "cpu", threads: int | None = None
) -> LoadedModel:
    """A model and its tokenizer from a local folder, to run the workload with.

    Args:
        folder: Folder with safetensors weights, configuration and tokenizer.
        dtype: Number format of weights and arithmetic.
        device: Torch device, such as `cpu` or `cuda:0`; `auto` spreads layers over all GPUs.
        threads: CPU threads for this process; None leaves torch's setting.

    Raises:
        WorkloadError: If the folder holds no complete model, or memory is too small.
    """
    configure_torch(threads)
    with _model_errors(folder), memory_watched(0):
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        network = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=_DTYPES[dtype],
            attn_implementation="sdpa",
            device_map="auto" if device == "auto" else None,
            local_files_only=True,
            use_safetensors=True,
        )
        if device != "auto":
            network = network.to(device)  # type: ignore[arg-type]  # its wrapper hides the type
    _refuse_offloaded(network)
    return _prepared(network, tokenizer, dtype)


def load_encoder(folder: Path) -> TextEncoder:
    """A model's tokenizer, with what its configuration says of context and endings.

    Raises:
        WorkloadError: If the folder holds no complete model.
    """
    with _model_errors(folder):
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        if (folder / "generation_config.json").exists():
            generation = GenerationConfig.from_pretrained(folder, local_files_only=True)
        else:
            generation = GenerationConfig.from_model_config(config)
    tokenizer.truncation_side = "right"
    return TextEncoder(
        tokenizer=tokenizer,
        eos_ids=_eos_ids(generation),
        context_tokens=_context_tokens(config.get_text_config()),
    )


def load_verifier(
    folder: Path, *, dtype: Dtype, device: str = "cpu", threads: int | None = None
) -> LoadedModel:
    """The same weights to re-score with: rounded to `dtype`, but computed in float32.

    So the only noise in a margin is that of the run under test, and a verifier needs no
    hardware for `dtype`. Arguments and errors are those of `load_model`.
    """
    loaded = load_model(folder, dtype=dtype, device=device, threads=threads)
    loaded.network.float()  # type: ignore[no-untyped-call]
    return loaded


def gpu_free_bytes() -> tuple[int, ...]:
    """Free memory of each GPU that torch sees; empty without CUDA."""
    return tuple(torch.cuda.mem_get_info(index)[0] for index in range(torch.cuda.device_count()))


def cuda_uuids() -> tuple[str, ...]:
    """UUIDs of the GPUs that torch sees, without the `GPU-` of NVML; empty without CUDA."""
    count = torch.cuda.device_count()
    return tuple(str(torch.cuda.get_device_properties(index).uuid) for index in range(count))


def configure_torch(threads: int | None) -> None:
    """Settings that hold for the whole process: repeatable kernels, full float32."""
    if threads is not None:
        torch.set_num_threads(threads)
    torch.backends.cudnn.benchmark = False
    torch.set_float32_matmul_precision("highest")
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]


def _prepared(
    network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, dtype: Dtype
) -> LoadedModel:
    tokenizer.truncation_side = "right"
    eos_ids = _eos_ids(network.generation_config)
    network.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=False,
        num_beams=1,
        use_cache=True,
        eos_token_id=list(eos_ids) or None,
        pad_token_id=eos_ids[0] if eos_ids else 0,
    )
    config = network.config.get_text_config()
    return LoadedModel(
        network=network,
        tokenizer=tokenizer,
        eos_ids=eos_ids,
        vocabulary_size=int(config.vocab_size),
        context_tokens=_context_tokens(config),
        dtype=dtype,
    )


def _eos_ids(config: GenerationConfig | None) -> TokenIds:
    ids = config.eos_token_id if config is not None else None
    if ids is None:
        return ()
    return (ids,) if isinstance(ids, int) else tuple(ids)


def _context_tokens(config: PreTrainedConfig) -> int:
    return getattr(config, "max_position_embeddings", None) or DEFAULT_CONTEXT_TOKENS


def _encoded(tokenizer: PreTrainedTokenizerBase, text: str, room: int) -> TokenIds:
    if room < 1:
        raise WorkloadError(
            "the model's context has no room for a prompt beside the answer",
            hint="Choose a model with a longer context; the workload's answers have 10 tokens.",
        )
    ids = tokenizer(text, truncation=True, max_length=room)["input_ids"]
    if not ids:
        raise WorkloadError(f"the text {text[:40]!r} has no tokens")
    return tuple(ids)


def _refuse_offloaded(network: PreTrainedModel) -> None:
    """Refuse a model of which accelerate put a part into host memory or on disk.

    It would run, many times slower, and its energy would stand for no GPU.
    """
    places = {str(place) for place in getattr(network, "hf_device_map", {}).values()}
    if places & {"cpu", "disk"} and places - {"cpu", "disk"}:
        raise WorkloadError(
            "the GPUs have too little memory for the model: a part of it would run elsewhere",
            hint="Add GPUs, or choose a smaller model or another dtype.",
        )


@contextmanager
def _model_errors(folder: Path) -> Iterator[None]:
    """What transformers says of a folder that is no usable model, as our error."""
    try:
        yield
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise WorkloadError(
            f"no usable model in {folder}: {str(error).splitlines()[0]}",
            hint="Fetch the model again, then verify it.",
        ) from error


@contextmanager
def memory_watched(tokens: int) -> Iterator[None]:
    """Too little memory, on a GPU or of the host, as our error."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _out_of_memory(tokens) from error
    except RuntimeError as error:  # torch's allocator of host memory has no class of its own
        if "allocate memory" in str(error) or "not enough memory" in str(error):
            raise _out_of_memory(tokens) from error
        raise


def _out_of_memory(tokens: int) -> WorkloadError:
    what = f"a prompt of {tokens} tokens" if tokens else "the model"
    return WorkloadError(
        f"the device has too little memory for {what}",
        hint="End other processes on the device, or choose a smaller model or another dtype.",
    )
