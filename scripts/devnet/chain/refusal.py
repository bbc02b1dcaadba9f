"""A refusal by the runtime, by the name that its metadata gives to the error."""

from scripts.devnet.chain.subnet import SUBTENSOR


class RefusalError(Exception):
    """The call is valid, was included, and failed: `System.ExtrinsicFailed`.

    Args:
        name: Name of the error.
        pallet: Whose error it is; "" for one of the runtime itself, such as `BadOrigin`.
    """

    def __init__(self, name: str, *, pallet: str = SUBTENSOR) -> None:
        super().__init__(f"{pallet}.{name}" if pallet else name)
        self.pallet = pallet
        self.name = name
