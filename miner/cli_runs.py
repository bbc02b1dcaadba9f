"""The commands for runs of the workload on this machine: measure, compare, verify."""

import json
import sys
from pathlib import Path
from string import ascii_uppercase
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter, validators

from miner.cli_output import print_json, refuse_unwritable, write_whole
from protocol.errors import ConfigurationError

if TYPE_CHECKING:
    from miner.result import Result
    from protocol.run_report import RunReport
    from protocol.signing import Signer


def measure(  # noqa: PLR0913 - each is an option of its own
    *,
    model: str,
    prompts: int = 1000,
    prompt_set: str = "auto",
    form: Literal["plain", "tagged"] = "plain",
    batch_size: int = 1,
    phases: Annotated[bool, Parameter(negative="")] = False,
    warm_up: Annotated[float | None, Parameter(validator=validators.Number(gte=0, lte=600))] = None,
    engine: Literal["transformers", "vllm"] = "transformers",
    device: str = "auto",
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
    threads: int | None = None,
    gpus: Annotated[tuple[int, ...] | None, Parameter(name="--gpu", negative="")] = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    output: Path | None = None,
    plot: Path | None = None,
    wallet_name: Annotated[str | None, Parameter(name=["--wallet-name", "--wallet"])] = None,
    wallet_hotkey: Annotated[str, Parameter(name=["--wallet-hotkey", "--hotkey"])] = "default",
    wallet_path: Path | None = None,
    quiet: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Run the workload once on this machine and show what it cost.

    A run that is stopped is void: it cannot be resumed, and nothing is written.

    Args:
        model: A folder with a model, or a name of the catalogue such as smollm2-135m.
        prompts: How many prompts to run.
        prompt_set: aies (the public AI Energy Score texts), standin, standin-short, the path of a
            file with the public texts, or auto: the public texts, or stand-ins for a shortened
            run where they are not on this machine.
        form: plain as AI Energy Score has it, or tagged as rounds have it.
        batch_size: Prompts answered together; 1 is AI Energy Score's.
        phases: Run a prefill pass too, to tell prefill and decode apart; takes longer.
        warm_up: Longest time in seconds to wait for steady power and temperature of the GPU before
            the run; 60 by default where a GPU does the work, 0 for none.
        engine: transformers, or vllm where it is installed; figures of two engines never mix.
        device: Torch device: auto, cpu, cuda:0, or spread (layers over all GPUs, class C).
        dtype: Number format; auto is bfloat16 on a GPU and float32 on a CPU.
        threads: CPU threads of the model.
        gpus: NVML index of a GPU to meter; may be given more than once.
        as_json: Print the result as JSON.
        output: Write the whole run to this file, signed if a wallet is given: every prompt's
            tokens, times and counter values. `verify` and `compare` read it.
        plot: Draw power over time and energy by prompt into this file, .png or .svg.
        wallet_name: Wallet whose hotkey signs the output.
        wallet_hotkey: Name of the hotkey.
        wallet_path: Folder of wallets.
        quiet: Show no progress.
    """
    from miner.local_run import LocalRun, Wanted
    from miner.plot import refuse_unknown_format
    from miner.progress import run_with_progress
    from miner.result import Result
    from miner.warm_up import warm_up_text

    for file in (output, plot):
        if file is not None:
            refuse_unwritable(file)
    if plot is not None:
        refuse_unknown_format(plot)
    signer = _signer(wallet_name, wallet_hotkey, wallet_path)
    run = LocalRun(
        Wanted(
            model=model,
            prompts=prompts,
            prompt_set=prompt_set,
            form=form,
            device=device,
            dtype=dtype,
            threads=threads,
            gpus=gpus,
            engine=engine,
            batch_size=batch_size,
            phases=phases,
            warm_up_seconds=warm_up,
        )
    )
    report = run_with_progress(run, quiet=quiet)
    if run.warm_up is not None:
        print(f"warm-up: {warm_up_text(run.warm_up)}", file=sys.stderr)
    if run.prefill_refusal is not None:
        print(f"no phases: {run.prefill_refusal}", file=sys.stderr)
    _show(Result(report=report), as_json=as_json)
    _keep(report, signer, output=output, plot=plot)
    return 0


def compare(
    *files: Annotated[Path, Parameter(negative="")],
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Set reports of `measure --output` side by side.

    Ranks them only inside one cell: same workload, model, weights, GPU, count, number format,
    engine, power limit and kind of meter. Signatures are checked first.

    Args:
        files: Reports, 2 to 26 of them.
        as_json: Print JSON.
    """
    from miner.comparison import compare as compare_results
    from miner.comparison import comparison_json
    from miner.run_files import open_run

    if not 1 < len(files) <= len(ascii_uppercase):
        raise ConfigurationError(
            f"a comparison takes 2 to {len(ascii_uppercase)} reports, not {len(files)}",
            hint="Give the files one after another.",
        )
    opened = [open_run(path) for path in files]
    comparison = compare_results([(run.path.name, run.result) for run in opened])
    if as_json:
        print_json(comparison_json(comparison))
    else:
        from rich.console import Console

        from miner.tables import print_comparison

        print_comparison(comparison, Console())
    return 0


def verify(
    file: Path,
    *,
    signed_by: str | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Check a report of `measure --output` and show it; exit 1 when it does not hold.

    Checks the signature, and that prompts, times, counter and energy fit together. Neither needs
    the machine that ran it, and neither shows that the joules are true: rounds are for that.

    Args:
        file: The report.
        signed_by: Hotkey (ss58) that must have signed it; without it an unsigned report passes.
        as_json: Print the result as JSON.
    """
    from miner.run_files import open_run

    opened = open_run(file)
    if signed_by is not None and opened.signer != signed_by:
        raise ConfigurationError(
            f"{file} is signed by {opened.signer or 'nobody'}, not by {signed_by}",
            hint="Ask its owner for a report signed with that hotkey.",
        )
    _show(opened.result, as_json=as_json)
    if not as_json:
        who = f"signed by {opened.signer}" if opened.signer else "unsigned: anyone may have made it"
        print(f"report    sound, {who}")
    return 0


def _signer(name: str | None, hotkey: str, path: Path | None) -> "Signer | None":
    """The wallet's hotkey, read before the run so that a wrong name costs no hour."""
    if name is None:
        return None
    from protocol.wallet import DEFAULT_WALLET_PATH, load_wallet

    return load_wallet(name, hotkey, path or DEFAULT_WALLET_PATH)


def _show(result: "Result", *, as_json: bool) -> None:
    from miner.result import result_json

    if as_json:
        print(json.dumps(result_json(result), indent=2))
        return
    from rich.console import Console

    from miner.tables import print_result

    print_result(result, Console())


def _keep(
    report: "RunReport", signer: "Signer | None", *, output: Path | None, plot: Path | None
) -> None:
    from miner.plot import draw
    from miner.result import Result
    from miner.run_files import run_file_text
    from protocol.run_report import seal

    if output is not None:
        write_whole(output, run_file_text(seal(report, signer)))
        who = f"signed by {signer.hotkey}" if signer else "unsigned: give --wallet-name to sign it"
        print(f"report    {output}, {who}", file=sys.stderr)
    if plot is not None:
        draw(Result(report=report), plot)
        print(f"plot      {plot}", file=sys.stderr)
