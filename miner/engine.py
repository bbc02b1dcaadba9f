"""The transformers engine: the measured loop over `protocol.generation`.

One model is loaded at a time and kept. Under the tagged form each prompt gets its tag only when
the answer before it is known. The loop does nothing that the workload does not ask for: leaves
are built after the window has closed.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from miner.holdings import HeldModel
from miner.ports import Stamp, Watch
from miner.reporting import PromptRun, Task
from protocol.errors import WorkloadError
from protocol.generation import LoadedModel, cuda_uuids, load_model
from protocol.ids import Nonce
from protocol.messages import ModelRef
from protocol.models import Dtype
from protocol.nonce_chain import first_nonce, next_nonce
from protocol.prompts import tagged_prompt
from protocol.workload import WARM_UP_TOKENS, Workload, WorkloadForm

ENGINE_NAME = "transformers"


class TransformersEngine:
    """Runs the workload on transformers, batch 1.

    Args:
        held: The models on disk.
        prompts: The texts of a workload, in order.
        device: Torch device, such as `cpu`, `cuda:0` or `auto`.
        threads: CPU threads; None leaves torch's setting.
        load: Reads a model from a folder.
    """

    def __init__(
        self,
        *,
        held: Sequence[HeldModel],
        prompts: Callable[[Workload], Sequence[str]],
        device: str,
        threads: int | None = None,
        load: Callable[..., LoadedModel] = load_model,
    ) -> None:
        self._folders: Mapping[ModelRef, Path] = {model.ref: model.folder for model in held}
        self._prompts = prompts
        self.device, self._threads = device, threads
        self._read = load
        self._loaded: tuple[ModelRef, LoadedModel] | None = None

    @property
    def name(self) -> str:
        """The engine's name in cells."""
        return ENGINE_NAME

    @property
    def models(self) -> tuple[ModelRef, ...]:
        """The models that can be run."""
        return tuple(self._folders)

    def prepare(self, task: Task, watch: Watch) -> None:
        """Load the task's model if it is not the loaded one, and warm it up.

        The warm-up is AI Energy Score's: one full answer and ten short ones.

        Raises:
            WorkloadError: If model or prompts are not usable.
            StoppedError: If `watch` ended it.
        """
        model, workload = self._load(task.model), task.workload
        new_tokens = workload.new_tokens
        text = _text(workload.form, first_nonce(task.seed), self._prompts(workload)[0])
        try:
            ids = model.encode(text, new_tokens=new_tokens)
            for length in (new_tokens, *[WARM_UP_TOKENS] * workload.warm_up_runs):
                watch(0)
                model.generate(ids, new_tokens=length)
        except RuntimeError as error:
            raise _broken(error) from error

    def run(self, task: Task, stamp: Stamp, watch: Watch) -> tuple[PromptRun, ...]:
        """The workload, prompt by prompt.

        Raises:
            WorkloadError: If the device fails.
            StoppedError: If `watch` ended the run.
        """
        prompts = self._prompts(task.workload)
        model = self._load(task.model)
        try:
            return run_prompts(model, prompts, task, stamp, watch)
        except RuntimeError as error:
            raise _broken(error) from error

    def synchronise(self) -> None:
        """Return at once: an answer's ids are there only when the device has finished it."""

    def _load(self, ref: ModelRef) -> LoadedModel:
        if self._loaded is None or self._loaded[0] != ref:
            self._loaded = None  # frees the memory of the one before first
            model = self._read(
                self._folders[ref], dtype=ref.dtype, device=self.device, threads=self._threads
            )
            self._loaded = (ref, model)
        return self._loaded[1]


def run_prompts(
    model: LoadedModel, prompts: Sequence[str], task: Task, stamp: Stamp, watch: Watch
) -> tuple[PromptRun, ...]:
    """The measured loop.

    A prompt's span reaches from the end of the one before to the end of its own answer, so that
    the spans add up to the window: it holds tag, tokenisation, prefill and decoding.
    """
    form, new_tokens = task.workload.form, task.workload.new_tokens
    nonce = first_nonce(task.seed)
    runs: list[PromptRun] = []
    before = stamp()
    for done, prompt in enumerate(prompts, start=1):
        ids = model.encode(_text(form, nonce, prompt), new_tokens=new_tokens)
        answer = model.generate(ids, new_tokens=new_tokens)
        after = stamp()
        runs.append(PromptRun(ids, answer, before, after))
        before = after
        nonce = next_nonce(nonce, answer)
        watch(done)
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


def _text(form: WorkloadForm, nonce: Nonce, prompt: str) -> str:
    return tagged_prompt(nonce, prompt) if form is WorkloadForm.TAGGED else prompt


def _broken(error: RuntimeError) -> WorkloadError:
    what = str(error).splitlines()[0] if str(error) else type(error).__name__
    return WorkloadError(
        f"the device failed in the middle of a run: {what}",
        hint="Look at the kernel log for GPU errors (Xid), then start the miner again.",
    )
