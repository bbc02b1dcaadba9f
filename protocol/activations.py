"""Hidden states of a running model, and their projections for a sketch. Imports torch."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

import torch
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPast

from protocol.ids import Nonce
from protocol.sketch import SKETCH_POSITIONS, pack_sketch, sign_bits


class StateRecorder:
    """Keeps the final hidden states that a model computes while the recorder is open.

    They are those behind the last normalisation, which the output head reads. Nothing is copied
    off the device before `last_states`, so a run is not slowed by waiting.

    Args:
        network: The model.
        positions: Positions to keep of each forward pass, from the last; None keeps all.
    """

    def __init__(self, network: PreTrainedModel, *, positions: int | None = None) -> None:
        self._network = network
        self._positions = positions
        self._passes: list[torch.Tensor] = []

    def __enter__(self) -> Self:
        self._passes.clear()
        self._hook = self._network.base_model.register_forward_hook(self._keep)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._hook.remove()

    def last_states(self, positions: int = SKETCH_POSITIONS) -> torch.Tensor:
        """States at the last positions read, shape (row, position, hidden value), float32.

        Forgets what it kept, so that the next answer starts afresh.
        """
        states = torch.cat(self._passes, dim=1)[:, -positions:].float()
        self._passes.clear()
        return states

    def _keep(
        self, _module: torch.nn.Module, _inputs: object, output: BaseModelOutputWithPast
    ) -> None:
        states = output.last_hidden_state
        if states is not None:
            self._passes.append(
                states if self._positions is None else states[:, -self._positions :]
            )


class Sketcher:
    """Sketches the answers that a model gives while the sketcher is open.

    Projections stay on the device until `sketches`, so that a measured run never waits for one.

    Args:
        network: The model.
    """

    def __init__(self, network: PreTrainedModel) -> None:
        self._recorder = StateRecorder(network, positions=SKETCH_POSITIONS)
        self._projections: list[torch.Tensor] = []

    def __enter__(self) -> Self:
        self._recorder.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._recorder.__exit__(kind, error, trace)

    def keep(self, nonces: Sequence[Nonce], positions_read: Sequence[int]) -> None:
        """Take the states of the batch that was just answered.

        Args:
            nonces: Of the batch's prompts.
            positions_read: By prompt, how many positions the model read: all tokens of prompt
                and answer but the last.
        """
        states = self._recorder.last_states()
        with torch.inference_mode():
            for row, nonce, count in zip(states, nonces, positions_read, strict=True):
                self._projections.append(project(row[-min(count, SKETCH_POSITIONS) :], nonce))

    def sketches(self) -> tuple[str, ...]:
        """One sketch per answer, in order."""
        return tuple(pack_sketch(projections.tolist()) for projections in self._projections)


def project(states: torch.Tensor, nonce: Nonce) -> torch.Tensor:
    """Projections of the last positions' states on the directions of a nonce, oldest first.

    Args:
        states: Shape (position, hidden value), float32, at most `SKETCH_POSITIONS` positions.
        nonce: The prompt's.
    """
    count, width = states.shape
    bits = torch.frombuffer(bytearray(sign_bits(nonce, width)), dtype=torch.uint8)
    shifts = torch.arange(7, -1, -1, dtype=torch.uint8)
    flat = ((bits[:, None] >> shifts) & 1).reshape(-1)[: count * width]
    signs = flat.reshape(count, width).flip(0).to(states.device).float() * 2 - 1
    projected: torch.Tensor = (states * signs).sum(dim=1) / torch.linalg.vector_norm(states, dim=1)
    return projected
