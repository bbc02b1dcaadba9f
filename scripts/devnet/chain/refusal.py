"""A refusal by the runtime, by the name that its metadata gives to the error."""

from scripts.devnet.chain.subnet import SUBTENSOR


class RefusalError(Exception):
    """The call is valid, was included, and failed: `System.ExtrinsicFailed`."""

    def __init__(self, name: str, *, pallet: str = SUBTENSOR) -> None:
        super().__init__(f"{pallet}.{name}")
        self.pallet = pallet
        self.name = name
