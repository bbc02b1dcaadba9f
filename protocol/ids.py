"""Names for the things that must not be mixed up."""

from typing import NewType

Hotkey = NewType("Hotkey", str)
"""A role's signing key as an ss58 address; all state is keyed by it, never by `Uid`."""
Coldkey = NewType("Coldkey", str)
"""The owner key behind a hotkey (ss58); never loaded by our processes."""
Uid = NewType("Uid", int)
"""A slot in the subnet; it changes hands."""
Netuid = NewType("Netuid", int)
BlockNumber = NewType("BlockNumber", int)
BlockHash = NewType("BlockHash", str)
"""`0x` and 64 lower-case hex digits."""
GenesisHash = NewType("GenesisHash", str)
"""Hash of block 0: names the chain, so that a testnet report is no mainnet report."""
RoundNumber = NewType("RoundNumber", int)
Digest = NewType("Digest", str)
"""SHA-256 as 64 lower-case hex digits."""
Nonce = NewType("Nonce", bytes)
"""One 32-byte link of the nonce chain."""
ModelId = NewType("ModelId", str)
"""Hub repository name, such as `HuggingFaceTB/SmolLM2-135M-Instruct`."""
GpuUuid = NewType("GpuUuid", str)
CellKey = NewType("CellKey", str)
"""Canonical name of a cell; figures compare only inside one."""
