"""A miner that runs other weights than it says: the demo's second cheat.

    python -m scripts.devnet.cheats serve

is `carbonbench-miner serve` with one line changed: the model that it loads has its weights
rounded to int4, while profile, digest and report go on naming the original. (The demo's first
cheat needs no code: its simulated GPU shows 30 % less than it draws.)
"""

import sys
from pathlib import Path

import protocol.generation
from protocol.generation import LoadedModel
from protocol.models import Dtype
from scripts.cheat_weights import quantise_int4

_load_honestly = protocol.generation.load_model


def load_int4(
    folder: Path, *, dtype: Dtype, device: str = "cpu", threads: int | None = None
) -> LoadedModel:
    """The folder's model with int4 weights, which nobody was told of."""
    model = _load_honestly(folder, dtype=dtype, device=device, threads=threads)
    quantise_int4(model)
    return model


def main() -> None:
    """Run the miner's own command line over the exchanged weights."""
    protocol.generation.load_model = load_int4
    from miner.cli import main as miner_main  # noqa: PLC0415 - after the exchange

    sys.argv[0] = "carbonbench-miner"
    miner_main()


if __name__ == "__main__":
    main()
