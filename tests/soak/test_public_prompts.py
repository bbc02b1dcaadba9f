"""The small model over the first public prompts: the same tokens whoever runs it and how."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from miner.reporting import input_digest
from protocol.prompt_sources import load_prompts
from protocol.run_report import open_run_file
from protocol.workload import PromptSet
from tests.support.model import need_smollm2
from tests.support.needs import need_distribution

pytestmark = pytest.mark.soak

COUNT = int(os.environ.get("CARBONBENCH_SOAK_PROMPTS", "8"))
"""Continuous integration has time for 8; 100 take some ten minutes on two cores."""


def start_measuring(folder: Path, output: Path, *, threads: int) -> subprocess.Popen[bytes]:
    options = ["--model", str(folder), "--prompts", str(COUNT), "--prompt-set", "aies"]
    options += ["--threads", str(threads), "--output", str(output), "--quiet"]
    return subprocess.Popen(
        [sys.executable, "-m", "miner.cli", "measure", *options],
        env=os.environ | {"OMP_NUM_THREADS": str(threads)},
        stdout=subprocess.DEVNULL,
    )


def answers(output: Path) -> list[tuple[str, tuple[int, ...]]]:
    report = open_run_file(output.read_bytes())
    return [(record.input_digest, record.output_ids) for record in report.prompts]


@pytest.mark.timeout(1800)
def test_public_prompts_give_the_same_tokens_twice_and_as_a_bare_loop(tmp_path: Path) -> None:
    need_distribution("llenergymeasure")
    folder = need_smollm2()
    first, second = tmp_path / "first.json", tmp_path / "second.json"

    alone = start_measuring(folder, first, threads=1)
    bare = bare_answers(folder)
    assert alone.wait() == 0
    assert start_measuring(folder, second, threads=2).wait() == 0

    assert len(bare) == COUNT
    assert answers(first) == answers(second) == bare


def bare_answers(folder: Path) -> list[tuple[str, tuple[int, ...]]]:
    """What transformers gives without any of our code."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
    found = []
    for text in load_prompts(PromptSet.AI_ENERGY_SCORE, COUNT):
        inputs = tokenizer(text, return_tensors="pt", truncation=True, max_length=8192 - 10)
        output = model.generate(  # type: ignore[misc]  # its stub binds self twice
            **inputs, max_new_tokens=10, min_new_tokens=10, do_sample=False, num_beams=1
        )
        ids = inputs["input_ids"][0].tolist()
        found.append((input_digest(ids), tuple(output[0, len(ids) :].tolist())))
    return found
