"""The command that meters any program on this machine's GPUs."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


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
