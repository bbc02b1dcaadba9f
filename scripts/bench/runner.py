"""The runner beside a bare generate loop and the peers' harness: time, memory, sizes, start-up.

Loops over the same prompts on the same model in one process, taking turns prompt by prompt, so
that a busy machine slows them alike; what counts is the CPU time of the process, which waiting
for a core does not add to. Energy needs a GPU and is not compared here.

The peers' harness is the PyTorch backend of `ai-energy-benchmarks` (AI Energy Score, December 2025)
with its own defaults but greedy, so that all do the same work: raw text, 10 new tokens.
"""

import contextlib
import gc
import importlib
import io
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from miner.engine import run_prompts
from miner.reporting import PromptRun, Task
from protocol.errors import ConfigurationError
from protocol.messages import ModelRef
from protocol.model_files import cache_dir
from protocol.prompts import short_standin_prompts
from protocol.units import mebibytes, microseconds
from protocol.workload import PromptSet, Workload, WorkloadForm
from scripts.bench.entries import Entry, entry, labelled
from scripts.smollm2 import ensure_smollm2

PROMPTS = 12
ROUNDS = 5
"""Turns of all loops over all prompts; the median of the turns' ratios counts."""
NEW_TOKENS = 10
PEER = "ai-energy-benchmarks"
CLIS = ("miner", "validator", "api")
HELP_RUNS = 5
REPORT_PROMPTS = 1000

_TARGET_HELP_SECONDS = 0.5
_TARGET_REPORT_BYTES = 300_000
_TARGET_MEMORY_MIB = 64.0
_REF = ModelRef(id="bench/smollm2", revision="1", weights_digest="0" * 64, dtype="float32")
_Loop = Callable[[str], tuple[int, ...]]


def run(share: float) -> list[Entry]:
    """All entries of this part.

    Args:
        share: Share of the turns and of the starts, at least one each.

    Raises:
        ConfigurationError: If the peers' harness is not installed.
        WorkloadError: If the small model cannot be had.
    """
    turns, starts = (max(1, round(count * share)) for count in (ROUNDS, HELP_RUNS))
    return [*_time_entries(turns), *_help_entries(starts), _report_entry(), _memory_entry()]


def _time_entries(turns: int) -> list[Entry]:
    folder = ensure_smollm2(cache_dir())
    prompts = short_standin_prompts(PROMPTS)
    loops = {"ours": _ours(folder), "bare": _bare(folder), "peer": _peer(folder)}
    _refuse_other_tokens(loops, prompts[:2])
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for turn in range(turns):
        order = list(loops)[turn % 3 :] + list(loops)[: turn % 3]
        spent = _turn({name: loops[name] for name in order}, prompts)
        for name, one in spent.items():
            seconds[name].append(one)
        shown = ", ".join(f"{name} {one:.2f} s" for name, one in spent.items())
        print(f"bench runner: turn {turn + 1} of {turns}, CPU: {shown}", file=sys.stderr)
    entries = []
    for name, anchor in (("bare", _title("transformers", "generate")), ("peer", _title(PEER))):
        pairs = zip(seconds["ours"], seconds[name], strict=True)
        suffix = "" if name == "bare" else "_peer"
        entries.append(
            entry(
                f"runner_time_ratio{suffix}",
                statistics.median(ours / theirs for ours, theirs in pairs),
                "of the anchor's CPU time",
                anchor=anchor,
                anchor_value=1.0,
            )
        )
    return entries


def _turn(loops: dict[str, _Loop], prompts: Sequence[str]) -> dict[str, float]:
    """CPU seconds of each loop over all prompts, taking turns prompt by prompt."""
    spent = dict.fromkeys(loops, 0.0)
    for prompt in prompts:
        for name, loop in loops.items():
            started = time.process_time()
            loop(prompt)
            spent[name] += time.process_time() - started
    return spent


def _ours(folder: Path) -> _Loop:
    """The measured loop of the miner, a prompt at a time, with stamps and leaves' raw material."""
    from protocol.generation import load_model  # noqa: PLC0415 - seconds to import

    model = load_model(folder, dtype="float32", threads=1)
    workload = Workload(
        name="bench", form=WorkloadForm.PLAIN, prompts=PromptSet.STANDIN_SHORT, prompt_count=1
    )
    task = Task(model=_REF, workload=workload, seed=b"bench")

    def stamp() -> tuple[int, int | None]:
        return microseconds(time.monotonic_ns()), None

    def loop(prompt: str) -> tuple[int, ...]:
        runs: tuple[PromptRun, ...] = run_prompts(model, (prompt,), task, stamp, lambda _done: None)
        return runs[0].output_ids

    return loop


def _bare(folder: Path) -> _Loop:
    """What one writes by hand: tokenise, generate, read the ids."""
    torch: Any = importlib.import_module("torch")
    transformers: Any = importlib.import_module("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)

    def loop(prompt: str) -> tuple[int, ...]:
        inputs = tokenizer(prompt, return_tensors="pt")
        with torch.inference_mode():
            output = model.generate(
                **inputs,
                max_new_tokens=NEW_TOKENS,
                min_new_tokens=NEW_TOKENS,
                do_sample=False,
                num_beams=1,
            )
        return tuple(output[0, inputs["input_ids"].shape[1] :].tolist())

    return loop


def _peer(folder: Path) -> _Loop:
    """The peers' backend, greedy and without its chat template, so that the work is the same."""
    _title(PEER)
    backends: Any = importlib.import_module("ai_energy_benchmarks.backends.pytorch")
    kept: list[tuple[int, ...]] = []
    with contextlib.redirect_stdout(io.StringIO()):
        backend = backends.PyTorchBackend(
            model=str(folder), device="cpu", torch_dtype="float32", device_map="cpu"
        )
        backend.health_check()
    backend.tokenizer.chat_template = None
    generate = backend.model.generate

    def remember(**options: Any) -> Any:
        output = generate(**options)
        kept.append(tuple(output[0, options["input_ids"].shape[1] :].tolist()))
        return output

    backend.model.generate = remember

    def loop(prompt: str) -> tuple[int, ...]:
        with contextlib.redirect_stdout(io.StringIO()):
            answer = backend.run_inference(
                prompt,
                max_tokens=NEW_TOKENS,
                temperature=0,
                top_p=None,
                top_k=None,
                min_new_tokens=NEW_TOKENS,
            )
        if not answer["success"]:
            raise ConfigurationError(f"{PEER} failed: {answer.get('error')}")
        return kept.pop()

    return loop


def _refuse_other_tokens(loops: dict[str, _Loop], prompts: Sequence[str]) -> None:
    """Warm up all loops, and make sure that they do the same work."""
    for prompt in prompts:
        answers = {name: loop(prompt) for name, loop in loops.items()}
        if len(set(answers.values())) > 1:
            raise ConfigurationError(f"the loops answer differently: {answers}")


def _help_entries(starts: int) -> list[Entry]:
    return [
        entry(
            labelled("cli_help_seconds", cli=cli),
            statistics.median(_help_seconds(cli) for _ in range(starts)),
            "CPU s",
            anchor="limit",
            anchor_value=_TARGET_HELP_SECONDS,
        )
        for cli in CLIS
    ]


def _help_seconds(cli: str) -> float:
    """CPU time of a process that prints the help, its start included."""
    probe = (
        "import resource, subprocess, sys;"
        f"subprocess.run([sys.executable, '-m', '{cli}.cli', '--help'], check=True,"
        " stdout=subprocess.DEVNULL);"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN);"
        "print(used.ru_utime + used.ru_stime)"
    )
    done = subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True, text=True)
    return float(done.stdout)


def _report_entry() -> Entry:
    """Size of the canonical report of a round with 1,000 prompts and full traces."""
    from scripts.bench.reports import full_report_bytes  # noqa: PLC0415 - needs no torch

    return entry(
        labelled("report_bytes", prompts=str(REPORT_PROMPTS)),
        full_report_bytes(REPORT_PROMPTS),
        "bytes",
        anchor="limit",
        anchor_value=_TARGET_REPORT_BYTES,
    )


def _memory_entry() -> Entry:
    """Peak memory of our loop over that of the bare loop, each in a process of its own."""
    ours, bare = (_peak_mib(name) for name in ("ours", "bare"))
    return entry(
        "runner_extra_memory_mb",
        max(0.0, ours - bare),
        "MiB",
        anchor=f"limit (bare loop: {bare:.0f} MiB)",
        anchor_value=_TARGET_MEMORY_MIB,
    )


def _peak_mib(name: str) -> float:
    done = subprocess.run(
        [sys.executable, "-m", "scripts.bench.runner", name],
        check=True,
        capture_output=True,
        text=True,
    )
    return float(done.stdout.splitlines()[-1])


def _title(distribution: str, part: str = "") -> str:
    try:
        return f"{distribution} {version(distribution)} {part}".strip()
    except PackageNotFoundError as error:
        raise ConfigurationError(
            f"{distribution} is not installed", hint="Run: make bench ONLY=runner"
        ) from error


def main(name: str) -> None:
    """Run one loop over the prompts, and print the process's peak memory in MiB."""
    import resource  # noqa: PLC0415 - only the child asks

    loop = {"ours": _ours, "bare": _bare}[name](ensure_smollm2(cache_dir()))
    for prompt in short_standin_prompts(PROMPTS // 2):
        loop(prompt)
    gc.collect()
    print(mebibytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))


if __name__ == "__main__":
    main(sys.argv[1])
