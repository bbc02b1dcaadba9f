"""The network in numbers: what lying, copying and skipping come to under the real scoring code."""
