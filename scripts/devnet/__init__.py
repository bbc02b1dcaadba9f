"""The network on one machine: a chain node, simulated GPUs, and the demo that wires them."""
