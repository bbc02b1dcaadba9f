"""A devnet node: a Bittensor chain in one process, for tests and the demo.

A loopback JSON-RPC server that speaks enough Substrate for the unmodified Bittensor SDK 11
and `btcli`. All encoding follows the real runtime metadata (`data/NOTICE`), refusals are the
runtime's own errors, and blocks come by clock or on demand. It holds no consensus, no peers
and no tokens of value: it is a test and demo tool and must never face a network.

    metadata    the runtime's types, keys and error indices
    ledger      storage: SCALE values by key, versioned by block
    subnet      what a subnet holds: neurons, stake, weights
    calls       what each extrinsic does, and when it is refused
    registration  a hotkey takes a UID
    epoch       permits, consensus and incentive at each tempo
    admission   signature, nonce and era of an extrinsic
    node        blocks, pool and clock
    runtime_api the runtime calls that clients ask for
    rpc         JSON-RPC methods
    server      the websocket
    control     the client of its `dev_` methods, for tests and the orchestrator
"""
