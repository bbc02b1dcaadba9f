"""What an operator can do about each code that ends a round or a verdict. Pure.

`docs/operating-miner.md` shows the same table; a test holds the two together.
"""

from protocol.errors import RejectionCode

_UPGRADE = "Upgrade carbonbench and restart between two rounds; if it stays, report a defect."
_CONTENT = "The report broke on its way, or the program is changed: reinstall it, and report this."
_PHYSICS = "Run `carbonbench-miner check --calibrate`: a board that reads wrong cannot mine."

ADVICE: dict[str, str] = {
    RejectionCode.MALFORMED: _CONTENT,
    RejectionCode.OVERSIZED: _CONTENT,
    RejectionCode.VERSION_MISMATCH: _UPGRADE,
    RejectionCode.SIGNATURE_INVALID: _CONTENT,
    RejectionCode.WRONG_CHAIN: "Check MINER_NETWORK, MINER_ENDPOINT and MINER_NETUID.",
    RejectionCode.WRONG_ROUND: "Nothing: the chain replaced the round's first block.",
    RejectionCode.WRONG_MINER: (
        "Another miner answers at the announced address: check MINER_AXON_IP and MINER_AXON_PORT."
    ),
    RejectionCode.WRONG_ASSIGNMENT: (
        "Do not restart with other models inside a round; let it end first."
    ),
    RejectionCode.UNKNOWN_MODEL: "Offer models of `carbonbench-miner models list` only.",
    RejectionCode.NOT_REGISTERED: "Register the hotkey again with btcli; it costs the fee again.",
    RejectionCode.NOT_PERMITTED: "Nothing: this is about who asks, not about you.",
    RejectionCode.UNREACHABLE: (
        "Open MINER_PORT to the world and forward it; `carbonbench-miner check` tries it."
    ),
    RejectionCode.ADDRESS_REFUSED: "Set MINER_AXON_IP to the public address of this machine.",
    RejectionCode.NO_COMMITMENT: (
        "The run was declined, refused or void: see how the round ended here and in the log."
    ),
    RejectionCode.COMMITMENT_LATE: (
        "The run takes too long: free the GPU and CPU, or offer smaller models."
    ),
    RejectionCode.COMMITMENT_CHANGED: (
        "Two miners sign with one hotkey. Stop one at once: this excludes the hotkey as fraud."
    ),
    RejectionCode.COMMITMENT_MISMATCH: (
        "Two miners answer for one hotkey, or the data folder was changed: keep one, untouched."
    ),
    RejectionCode.NO_REPORT: "Keep the miner up until its round is scored.",
    RejectionCode.NONCE_STALE: (
        "The run was seeded with another block: check that the node follows the right chain."
    ),
    RejectionCode.LEAVES_REORDERED: _CONTENT,
    RejectionCode.NONCE_CHAIN_BROKEN: _CONTENT,
    RejectionCode.INPUT_MISMATCH: (
        "Another tokenizer was used: `carbonbench-miner models verify NAME`, then fetch it again."
    ),
    RejectionCode.OUTPUT_LENGTH: _UPGRADE,
    RejectionCode.TOKEN_PROOF_FAILED: (
        "Other weights or another precision made the tokens: verify the model, look for GPU errors."
    ),
    RejectionCode.WEIGHTS_DIGEST_MISMATCH: "The weights are not the catalogue's: fetch them again.",
    RejectionCode.SIMULATED_REFUSED: "Only devnet takes simulated GPUs.",
    RejectionCode.COUNTER_INCONSISTENT: _PHYSICS,
    RejectionCode.TRACE_INCONSISTENT: _PHYSICS,
    RejectionCode.TIME_IMPOSSIBLE: "Check this machine's clock and restart the miner.",
    RejectionCode.ENERGY_IMPOSSIBLE: _PHYSICS,
    RejectionCode.REPLAYED: "The same run was reported before: never copy a data folder.",
    RejectionCode.EXCLUDED: "This hotkey was proven to cheat; the exclusion ends by itself.",
    "no_time": "Even the fastest recent run would not fit: free the GPU, or offer smaller models.",
    "no_space": "Free disk space in MINER_DATA_DIR, or lower MINER_KEEP_ROUNDS.",
    "store": "The disk did not take the report: check space and permissions of MINER_DATA_DIR.",
    "workload": "Model, prompts or GPU memory: `carbonbench-miner check` says which.",
    "measurement": "Repeat with `carbonbench-miner measure`; its refusal says more.",
}
"""By code: rejections of validators, then this miner's own reasons beside those of its meter
(`miner.refusals`, whose hints go with the outcome)."""


def advice_on(code: str) -> str:
    """What to do about a code; empty when the outcome's own words have to do."""
    return ADVICE.get(code, "")
