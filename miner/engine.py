"""The engines: the measured loop, over whatever answers the prompts.

An engine is a name (a cell's figures never mix engines) and a way to load a model that can
encode a text and answer a batch of prompts; the loop, the tags and the warm-up are the same for
all. `TransformersEngine` runs `protocol.generation`; `miner.vllm_engine` has the other.

One model is loaded at a time and kept. Under the tagged form each batch gets its tags only when
the answers before it are known. The loop does nothing that the workload does not ask for: leaves
are built after the window has closed.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from miner.holdings import HeldModel
from miner.ports import Stamp, Watch
from miner.reporting import PromptRun, Task
from protocol.activations import Sketcher
from protocol.errors import WorkloadError
from protocol.generation import LoadedModel, cuda_uuids, load_model
from protocol.ids import Nonce
from protocol.messages import ModelRef
from protocol.models import Dtype
from protocol.nonce_chain import batch_nonces, first_nonce, next_batch_nonce
from protocol.prompts import tagged_prompt
from protocol.workload import WARM_UP_TOKENS, Workload, WorkloadForm

TRANSFORMERS = "transformers"
"""The engine's name in cells."""
PREFILL_TOKENS = 1
"""New tokens of the prefill pass: the first comes out of the prefill itself."""


Answered = Callable[[Sequence[Nonce], Sequence[int]], None]
"""Called after each batch with the nonces and the positions that the model read."""


class AnsweringModel(Protocol):
    """A model in memory, as the loop needs it."""

    def encode(self, text: str, *, new_tokens: int) -> tuple[int, ...]:
        """Token ids of a text, cut on the right so that the answer fits the context.

        Raises:
            WorkloadError: If nothing is left to feed to the model.
        """
        ...

    def generate_batch(
        self, prompts: Sequence[Sequence[int]], *, new_tokens: int
    ) -> tuple[tuple[int, ...], ...]:
        """The greedy answers, exactly `new_tokens` ids each; there when the device has finished.

        Raises:
            WorkloadError: If the device has too little memory or fails.
        """
        ...


class PromptEngine:
    """Runs the workload through one kind of model.

    Args:
        name: The engine's name in cells.
        held: The models on disk.
        prompts: The texts of a workload, in order.
        device: Torch device, such as `cpu`, `cuda:0` or `auto`.
        load: Reads a model from disk.
        sketch: Whether tagged runs also sketch the hidden states, where the engine shows them.
    """

    def __init__(
        self,
        *,
        name: str,
        held: Sequence[HeldModel],
        prompts: Callable[[Workload], Sequence[str]],
        device: str,
        load: Callable[[HeldModel], AnsweringModel],
        sketch: bool = False,
    ) -> None:
        self.name, self.device, self._sketch = name, device, sketch
        self._held: Mapping[ModelRef, HeldModel] = {model.ref: model for model in held}
        self._prompts, self._read = prompts, load
        self._loaded: tuple[ModelRef, AnsweringModel] | None = None

    @property
    def models(self) -> tuple[ModelRef, ...]:
        """The models that can be run."""
        return tuple(self._held)

    def prepare(self, task: Task, watch: Watch) -> None:
        """Load the task's model if it is not the loaded one, and warm it up.

        The warm-up is AI Energy Score's: one full answer and ten short ones.

        Raises:
            WorkloadError: If model or prompts are not usable.
            StoppedError: If `watch` ended it.
        """
        model, workload = self._load(task.model), task.workload
        first = self._prompts(workload)[: workload.batch_size]
        texts = _texts(workload.form, first_nonce(task.seed), first)
        try:
            batch = [model.encode(text, new_tokens=workload.new_tokens) for text in texts]
            for length in (workload.new_tokens, *[WARM_UP_TOKENS] * workload.warm_up_runs):
                watch(0)
                model.generate_batch(batch, new_tokens=length)
        except RuntimeError as error:
            raise _broken(error) from error

    def run(self, task: Task, stamp: Stamp, watch: Watch) -> tuple[PromptRun, ...]:
        """The workload, batch by batch.

        Raises:
            WorkloadError: If the device fails.
            StoppedError: If `watch` ended the run.
        """
        prompts = self._prompts(task.workload)
        model = self._load(task.model)
        try:
            tagged = task.workload.form is WorkloadForm.TAGGED
            if self._sketch and tagged and isinstance(model, LoadedModel):
                return run_sketched(model, prompts, task, stamp, watch)
            return run_prompts(model, prompts, task, stamp, watch)
        except RuntimeError as error:
            raise _broken(error) from error

    def prefill(self, task: Task, inputs: Sequence[Sequence[int]], watch: Watch) -> None:
        """The prefill pass: the same inputs once more, one new token each.

        What the whole pass costs less this one is the cost of decoding.

        Args:
            task: What was run.
            inputs: The token ids of all prompts, as they were run.
            watch: Called after each batch.

        Raises:
            WorkloadError: If the device fails.
            StoppedError: If `watch` ended it.
        """
        model, size = self._load(task.model), task.workload.batch_size
        try:
            for start in range(0, len(inputs), size):
                model.generate_batch(inputs[start : start + size], new_tokens=PREFILL_TOKENS)
                watch(min(start + size, len(inputs)))
        except RuntimeError as error:
            raise _broken(error) from error

    def synchronise(self) -> None:
        """Return at once: an answer's ids are there only when the device has finished it."""

    def _load(self, ref: ModelRef) -> AnsweringModel:
        if self._loaded is None or self._loaded[0] != ref:
            self._loaded = None  # frees the memory of the one before first
            self._loaded = (ref, self._read(self._held[ref]))
        return self._loaded[1]


class TransformersEngine(PromptEngine):
    """Runs the workload on transformers.

    Args:
        held: The models on disk.
        prompts: The texts of a workload, in order.
        device: Torch device, such as `cpu`, `cuda:0` or `auto`.
        threads: CPU threads; None leaves torch's setting.
        load: Reads a model from a folder.
        sketch: Whether tagged runs also sketch the hidden states.
    """

    def __init__(
        self,
        *,
        held: Sequence[HeldModel],
        prompts: Callable[[Workload], Sequence[str]],
        device: str,
        threads: int | None = None,
        load: Callable[..., LoadedModel] = load_model,
        sketch: bool = False,
    ) -> None:
        def read(model: HeldModel) -> LoadedModel:
            return load(model.folder, dtype=model.ref.dtype, device=device, threads=threads)

        super().__init__(
            name=TRANSFORMERS, held=held, prompts=prompts, device=device, load=read, sketch=sketch
        )


def run_sketched(
    model: LoadedModel, prompts: Sequence[str], task: Task, stamp: Stamp, watch: Watch
) -> tuple[PromptRun, ...]:
    """The measured loop, with a sketch of each answer's hidden states."""
    with Sketcher(model.network) as sketcher:
        runs = run_prompts(model, prompts, task, stamp, watch, answered=sketcher.keep)
    sketches = sketcher.sketches()
    return tuple(run._replace(sketch=one) for run, one in zip(runs, sketches, strict=True))


def run_prompts(
    model: AnsweringModel,
    prompts: Sequence[str],
    task: Task,
    stamp: Stamp,
    watch: Watch,
    *,
    answered: Answered | None = None,
) -> tuple[PromptRun, ...]:
    """The measured loop.

    A prompt's span reaches from the end of the batch before to the end of its own, so that the
    spans of all batches add up to the window: they hold tags, tokenisation, prefill and decoding.
    The prompts of one batch share their span.
    """
    workload = task.workload
    nonce = first_nonce(task.seed)
    runs: list[PromptRun] = []
    before = stamp()
    for start in range(0, len(prompts), workload.batch_size):
        texts = _texts(workload.form, nonce, prompts[start : start + workload.batch_size])
        batch = [model.encode(text, new_tokens=workload.new_tokens) for text in texts]
        answers = model.generate_batch(batch, new_tokens=workload.new_tokens)
        if answered is not None:
            read = [len(ids) + workload.new_tokens - 1 for ids in batch]
            answered(batch_nonces(nonce, len(batch)), read)
        after = stamp()
        runs.extend(
            PromptRun(ids, answer, before, after)
            for ids, answer in zip(batch, answers, strict=True)
        )
        before = after
        nonce = next_batch_nonce(nonce, answers)
        watch(len(runs))
    return tuple(runs)


def choose_device(wanted: str) -> str:
    """The torch device: the wanted one, or for `auto` the first GPU if torch sees one.

    `spread` puts a model's layers on all GPUs.
    """
    if wanted == "spread":
        return "auto"  # what transformers calls it
    if wanted != "auto":
        return wanted
    return "cuda:0" if cuda_uuids() else "cpu"


def choose_dtype(wanted: str, device: str) -> Dtype:
    """The number format: the wanted one, or for `auto` float32 on a CPU and bfloat16 on a GPU."""
    formats: dict[str, Dtype] = {
        "float32": "float32",
        "bfloat16": "bfloat16",
        "float16": "float16",
    }
    return formats.get(wanted, "float32" if device == "cpu" else "bfloat16")


def _texts(form: WorkloadForm, nonce: Nonce, prompts: Sequence[str]) -> Sequence[str]:
    if form is WorkloadForm.PLAIN:
        return prompts
    tags = batch_nonces(nonce, len(prompts))
    return [tagged_prompt(tag, prompt) for tag, prompt in zip(tags, prompts, strict=True)]


def _broken(error: RuntimeError) -> WorkloadError:
    what = str(error).splitlines()[0] if str(error) else type(error).__name__
    return WorkloadError(
        f"the device failed in the middle of a run: {what}",
        hint="Look at the kernel log for GPU errors (Xid), then start the miner again.",
    )
