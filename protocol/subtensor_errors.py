"""From the SDK's exceptions to `ChainError`, with what the operator can do."""

import bittensor as bt
from bittensor.result import BittensorError, RpcConnectionError

from protocol.chain import CallRefusedError
from protocol.errors import ChainError

CONNECTION_ERRORS: tuple[type[Exception], ...] = (RpcConnectionError, OSError, TimeoutError)
"""Those after which a new connection may help."""
SDK_ERRORS: tuple[type[Exception], ...] = (
    BittensorError,
    OSError,
    TimeoutError,
    ValueError,  # an item or call that the runtime lacks, or a value that does not encode
    KeyError,  # the same, from the codec
)
"""What the SDK, its transport and the network raise."""

_UNKNOWN_FATE = "may already be"
"""In the SDK's words for a submission whose connection was cut (`_transport/rpc.py`)."""


def call_refused(error: bt.ChainError, *, doing: str, endpoint: str) -> CallRefusedError:
    """A call that the SDK, the pool or the runtime refused."""
    reason = error.name or error.code.value
    hint = f"{error.remediation} {_where(endpoint)}"
    return CallRefusedError(f"{doing}: {reason}: {error}", reason=reason, hint=hint)


def failed_call(result: bt.ExtrinsicResult, *, doing: str, endpoint: str) -> ChainError:
    """A call that did not succeed: refused, or cut off before anyone knew."""
    error = result.error or bt.ChainError(result.message)
    if result.block_hash is None and _UNKNOWN_FATE in result.message:
        hint = f"Look at what the chain holds before trying again. {_where(endpoint)}"
        return ChainError(f"{doing}: the connection was lost: {result.message}", hint=hint)
    return call_refused(error, doing=doing, endpoint=endpoint)


def chain_error(error: Exception, *, doing: str, endpoint: str) -> ChainError:
    """Anything else that went wrong between us and the chain."""
    if isinstance(error, CONNECTION_ERRORS):
        detail = str(error) or "no answer in time"
        hint = f"Is the endpoint right and reachable? {_where(endpoint)}"
        return ChainError(f"{doing}: the chain does not answer: {detail}", hint=hint)
    if isinstance(error, bt.ChainError):
        return ChainError(f"{doing}: {error}", hint=f"{error.remediation} {_where(endpoint)}")
    hint = "The runtime may be older or newer than the SDK; `check` names what differs."
    return ChainError(f"{doing}: {error}", hint=f"{hint} {_where(endpoint)}")


def _where(endpoint: str) -> str:
    return f"(endpoint {endpoint}, bittensor {bt.__version__})"
