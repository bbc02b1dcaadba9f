"""The tables of docs/operating-miner.md that follow from the code.

    python -m scripts.operating_tables

prints them; tests/miner/test_operating_doc.py compares. GPUs come from the validator's table of
physical limits, advice from the miner's.
"""

import json
from importlib.resources import files

from miner.advice import ADVICE
from miner.refusals import REFUSALS

_BYTES_PER_PARAMETER = 2.4
"""In bfloat16, with a fifth on top for what a run needs (AI Energy Score's rule)."""


def hardware_table() -> str:
    """One row per GPU that validators know the limits of."""
    table = json.loads(files("validator").joinpath("data/hardware.json").read_text())
    rows = [
        "| GPU, as NVML names it | GiB | largest model (10^9) | power limit up to (W) | status |",
        "|---|---|---|---|---|",
    ]
    for gpu in sorted(table["gpus"], key=lambda gpu: str(gpu["names"][0])):
        limit = gpu["power_limit_max_w"]
        rows.append(
            f"| {', '.join(gpu['names'])} | {round(gpu['memory_mib'] / 1024)}"
            f" | {_largest_billions(gpu['memory_mib'])} | {limit['value']}"
            f" | {table['sources'][limit['source']]['status']} |"
        )
    return "\n".join(rows)


def advice_table() -> str:
    """One row per code that ends a round or a verdict."""
    rows = ["| code | what to do |", "|---|---|"]
    rows += [f"| `{code}` | {text} |" for code, text in ADVICE.items()]
    rows += [f"| `{refusal.reason}` | {refusal.default_hint} |" for refusal in REFUSALS]
    return "\n".join(rows)


def _largest_billions(memory_mib: int) -> int:
    return int(memory_mib * 2**20 / _BYTES_PER_PARAMETER / 10**9)


if __name__ == "__main__":
    print(hardware_table(), advice_table(), sep="\n\n")
