"""Re-scoring with a model that doesn't fit memory: its layers read from disk, one at a time.

All batches go through a layer before the next one is read, so every weight is read once however
many samples there are, and memory holds one layer and the batches' hidden states. Imports torch.
"""

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from accelerate import init_empty_weights  # type: ignore[import-untyped]
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from protocol.cheap_weights import CHEAPER, linear_weights
from protocol.errors import WorkloadError
from protocol.generation import LoadedModel, configure_torch, load_encoder, memory_watched
from protocol.models import Dtype
from protocol.teacher_forcing import Batch, Prefilled, prefill

_Call = tuple[torch.Tensor, tuple[object, ...], dict[str, object]]
"""What a layer is called with: hidden states, then positional and named arguments."""


class StreamedModel:
    """A model's structure in memory, its weights on disk.

    Weights are rounded to `dtype` and computed in float32, as `load_verifier` does; the results
    are those of the whole model, to the bit, for the same batches on the same device.

    Args:
        folder: Folder with safetensors weights, configuration and tokenizer.
        dtype: Number format that the weights are rounded to.
        device: Torch device that computes.
        threads: CPU threads for this process; None leaves torch's setting.

    Raises:
        WorkloadError: If the folder holds no model whose layers can be read one by one.
    """

    def __init__(
        self, folder: Path, *, dtype: Dtype, device: str = "cpu", threads: int | None = None
    ) -> None:
        configure_torch(threads)
        self.model = _skeleton(folder, dtype)
        self._network = self.model.network
        self._device = torch.device(device)
        self._layers = _layers_of(self._network)
        self._tensors = _tensors_of(folder)
        self._names = _stored_names(self._network, self._tensors)
        linear = {id(weight) for weight in linear_weights(self._network)}
        self._linear = {name for key, name in self._names.items() if key in linear}
        self._rounding: Callable[[torch.Tensor], torch.Tensor] | None = None

    def forward(self, batches: Sequence[Batch]) -> Iterator[Prefilled]:
        """Run batches through the model, layer by layer.

        Raises:
            WorkloadError: If a file cannot be read, or the device runs out of memory.
        """
        try:
            with memory_watched(max(b.ids.numel() for b in batches)), torch.inference_mode():
                calls = self._calls(batches)
                states = [call[0][0] for call in calls]
                for number, layer in enumerate(self._layers):
                    with self._loaded(list(layer.modules())):
                        for place, call in enumerate(calls):
                            _, more, named = call[number]
                            states[place] = layer(states[place], *more, **named)
                yield from self._finished(batches, states)
        except (OSError, SafetensorError) as error:
            raise WorkloadError(
                f"a weight file cannot be read: {error}",
                hint="Fetch the model again, then verify it.",
            ) from error

    @contextmanager
    def rounded_to(self, name: str) -> Iterator[None]:
        """Linear weights rounded to a format of `cheap_weights.CHEAPER`, for the time being."""
        self._rounding = CHEAPER[name]
        try:
            yield
        finally:
            self._rounding = None

    def _calls(self, batches: Sequence[Batch]) -> list[list[_Call]]:
        """How the model would call each layer, by batch; the first gets the embedded tokens."""
        body = self._network.base_model
        with self._outer(body):
            recorded = [self._recorded(body, batch) for batch in batches]
        if any(len(calls) != len(self._layers) for calls in recorded):
            raise _not_streamable("does not call its layers one by one", self._network)
        return recorded

    def _recorded(self, body: torch.nn.Module, batch: Batch) -> list[_Call]:
        calls: list[_Call] = []

        def record(states: torch.Tensor, *more: object, **named: object) -> torch.Tensor:
            calls.append((states, more, named))
            return states

        with self._replaced(record):
            body(input_ids=batch.ids.to(self._device), use_cache=False)
        return calls

    def _finished(
        self, batches: Sequence[Batch], states: Sequence[torch.Tensor]
    ) -> Iterator[Prefilled]:
        """Last normalisation and output head over what the last layer left."""
        with self._outer(self._network):
            for batch, last in zip(batches, states, strict=True):
                with self._replaced(lambda *_, last=last, **__: last):
                    yield prefill(self._network, batch)

    @contextmanager
    def _replaced(self, forward: Callable[..., torch.Tensor]) -> Iterator[None]:
        """All layers doing something else for the time being."""
        for layer in self._layers:
            layer.forward = forward
        try:
            yield
        finally:
            for layer in self._layers:
                del layer.forward

    @contextmanager
    def _outer(self, whole: torch.nn.Module) -> Iterator[None]:
        """Everything of a module but the layers, in memory for the time being."""
        inside = {module for layer in self._layers for module in layer.modules()}
        with self._loaded([module for module in whole.modules() if module not in inside]):
            yield

    @contextmanager
    def _loaded(self, modules: Sequence[torch.nn.Module]) -> Iterator[None]:
        """Modules with their own weights, for the time being; a shared weight is read once."""
        read: dict[str, torch.nn.Parameter] = {}
        empty = [(module, dict(module._parameters)) for module in modules]
        try:
            for module, parameters in empty:
                for name, parameter in parameters.items():
                    if parameter is not None:
                        stored = self._names[id(parameter)]
                        module._parameters[name] = self._parameter(stored, read)
            yield
        finally:
            for module, parameters in empty:
                module._parameters.update(parameters)

    def _parameter(self, name: str, read: dict[str, torch.nn.Parameter]) -> torch.nn.Parameter:
        if name not in read:
            read[name] = self._read(name)
        return read[name]

    def _read(self, name: str) -> torch.nn.Parameter:
        with safe_open(self._tensors[name], framework="pt", device="cpu") as file:
            rounded = file.get_tensor(name).to(getattr(torch, self.model.dtype))
        values = rounded.to(self._device).float()
        if self._rounding is not None and name in self._linear:
            values = self._rounding(values)
        return torch.nn.Parameter(values, requires_grad=False)


def fits_memory(folder: Path, device: str) -> bool:
    """Whether a model's weights in float32, and a fifth more, fit the memory.

    That of a GPU as far as it is free; the host's as a whole, since much of it holds caches.
    """
    values = 0
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            values += sum(math.prod(file.get_slice(name).get_shape()) for name in names)
    needed = values * torch.float32.itemsize * 6 // 5
    if torch.device(device).type == "cuda":
        return needed <= torch.cuda.mem_get_info(device)[0]
    return needed <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _skeleton(folder: Path, dtype: Dtype) -> LoadedModel:
    """A model without weights: parameters have shapes only, buffers are real."""
    encoder = load_encoder(folder)
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    with init_empty_weights(include_buffers=False):
        network = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
            config, dtype=torch.float32, attn_implementation="sdpa"
        )
    network.tie_weights()
    return LoadedModel(
        network=network.eval(),
        tokenizer=encoder.tokenizer,
        eos_ids=encoder.eos_ids,
        vocabulary_size=int(config.get_text_config().vocab_size),
        context_tokens=encoder.context_tokens,
        dtype=dtype,
    )


def _layers_of(network: PreTrainedModel) -> list[torch.nn.Module]:
    count = network.config.get_text_config().num_hidden_layers
    for module in network.base_model.children():
        if isinstance(module, torch.nn.ModuleList) and len(module) == count:
            return list(module)
    raise _not_streamable("has no list of layers", network)


def _tensors_of(folder: Path) -> dict[str, Path]:
    """The file that holds each tensor."""
    tensors: dict[str, Path] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            tensors |= dict.fromkeys(file.keys(), path)
    return tensors


def _stored_names(network: PreTrainedModel, tensors: Mapping[str, Path]) -> dict[int, str]:
    """The name in the files of every parameter, by the parameter's identity.

    A tied weight has several names, of which the files need hold only one.
    """
    prefix = network.base_model_prefix + "."
    names: dict[int, str] = {}
    for name, parameter in network.named_parameters(remove_duplicate=False):
        for stored in (name, name.removeprefix(prefix)):
            if stored in tensors:
                names.setdefault(id(parameter), stored)
    if any(id(parameter) not in names for parameter in network.parameters()):
        raise _not_streamable("is stored under other names", network)
    return names


def _not_streamable(what: str, network: PreTrainedModel) -> WorkloadError:
    return WorkloadError(
        f"{type(network).__name__} {what}, so its layers can't be read one by one",
        hint="Re-score this model on a machine whose memory holds it.",
    )
