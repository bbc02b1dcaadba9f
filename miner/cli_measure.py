"""The commands that measure on this machine, without any network."""

import json
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from miner.cli_output import refuse_unwritable, write_whole


def measure(  # noqa: PLR0913 - each is an option of its own
    *,
    model: str,
    prompts: int = 1000,
    prompt_set: str = "auto",
    form: Literal["plain", "tagged"] = "plain",
    device: str = "auto",
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
    threads: int | None = None,
    gpus: Annotated[tuple[int, ...] | None, Parameter(name="--gpu", negative="")] = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    output: Path | None = None,
    quiet: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Run the workload once on this machine and show what it cost.

    Args:
        model: A folder with a model, or a name of the catalogue such as smollm2-135m.
        prompts: How many prompts to run.
        prompt_set: aies (the public AI Energy Score texts), standin, standin-short, the path of a
            file with the public texts, or auto: the public texts, or stand-ins for a shortened
            run where they are not on this machine.
        form: plain as AI Energy Score has it, or tagged as rounds have it.
        device: Torch device: auto, cpu, cuda:0, or spread (layers over all GPUs).
        dtype: Number format; auto is bfloat16 on a GPU and float32 on a CPU.
        threads: CPU threads of the model.
        gpus: NVML index of a GPU to meter; may be given more than once.
        as_json: Print the result as JSON.
        output: Also write the JSON to this file.
        quiet: Show no progress.
    """
    from miner.local_run import LocalRun, Wanted
    from miner.result import result_json
    from miner.tables import print_result, run_with_progress

    wanted = Wanted(
        model=model,
        prompts=prompts,
        prompt_set=prompt_set,
        form=form,
        device=device,
        dtype=dtype,
        threads=threads,
        gpus=gpus,
    )
    if output is not None:
        refuse_unwritable(output)
    run = LocalRun(wanted)
    result = run_with_progress(run, quiet=quiet)
    content = json.dumps(result_json(result), indent=2)
    if output is not None:
        write_whole(output, content + "\n")
    if as_json:
        print(content)
    else:
        from rich.console import Console

        print_result(result, Console())
    return 0


def meter(
    *command: Annotated[str, Parameter(allow_leading_hyphen=True)],
    gpus: Annotated[
        tuple[int, ...] | None, Parameter(name=["--device", "--gpu"], negative="")
    ] = None,
    share: Annotated[bool, Parameter(negative="")] = False,
    witness: Annotated[bool, Parameter(negative="")] = False,
    schema: Annotated[bool, Parameter(negative="")] = False,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    output: Path | None = None,
) -> int:
    """Run any command and give its GPU energy: `carbonbench-miner meter -- python train.py`.

    Args:
        command: Program and arguments, after `--`.
        gpus: NVML index of a GPU to meter; may be given more than once.
        share: Measure although others use the GPU too, and say so.
        witness: Let codecarbon meter the same GPUs, and print its figure beside ours.
        schema: Instead, print the JSON Schema of the result.
        as_json: Print JSON, as the last line of standard output.
        output: Write the JSON to this file.
    """
    if schema:
        from miner.meter_record import schema_json

        print(schema_json(), end="")
        return 0
    from miner.meter import Sharing
    from miner.meter_command import run_meter_command

    sharing = Sharing.FLAG if share else Sharing.REFUSE
    return run_meter_command(
        command,
        devices=gpus,
        as_json=as_json,
        output=output,
        sharing=sharing,
        with_witness=witness,
    )
