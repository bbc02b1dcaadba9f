"""Run reports: signed or not, opened again, and held against themselves."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import MalformedMessageError, ProtocolError, SignatureError
from protocol.run_report import RunFile, RunReport, inconsistencies, open_run_file, seal
from tests.support.keys import ALICE, BOB
from tests.support.runs import TWO_PROMPTS, measured, run_report

REPORT = run_report(measured())
SIGNED = seal(REPORT, ALICE)


def opened(file: RunFile) -> RunReport:
    return open_run_file(file.model_dump_json(indent=1).encode())


def test_a_signed_report_comes_back_with_its_signer() -> None:
    assert opened(SIGNED) == REPORT.model_copy(update={"hotkey": ALICE.hotkey})


def test_an_unsigned_report_comes_back_naming_nobody() -> None:
    assert opened(seal(REPORT, None)) == REPORT


@pytest.mark.parametrize(
    "changed",
    [
        {"parameters": 7},
        {"engine": "vllm"},
        {"workload": "aies-textgen-v1/plain/aies-1000:1000/n10/b1"},
        {"energy": None},
    ],
)
def test_any_change_breaks_the_signature(changed: dict[str, Any]) -> None:
    payload = SIGNED.payload.model_copy(update=changed)

    with pytest.raises(SignatureError, match="does not match"):
        opened(SIGNED.model_copy(update={"payload": payload}))


def test_another_signer_cannot_take_its_place() -> None:
    others = seal(REPORT, BOB).signatures

    with pytest.raises(SignatureError, match="signed by"):
        opened(SIGNED.model_copy(update={"signatures": others}))


def test_a_report_that_lost_its_signature_is_not_an_unsigned_one() -> None:
    with pytest.raises(SignatureError, match="is not signed"):
        opened(SIGNED.model_copy(update={"signatures": ()}))


def test_a_signature_under_a_report_that_names_nobody_is_refused() -> None:
    with pytest.raises(ProtocolError, match="names nobody"):
        opened(SIGNED.model_copy(update={"payload": REPORT}))


@given(st.binary(max_size=200))
def test_foreign_bytes_are_refused_as_malformed(data: bytes) -> None:
    with pytest.raises(MalformedMessageError):
        open_run_file(data)


def test_a_report_of_a_run_is_consistent() -> None:
    assert inconsistencies(REPORT) == ()


def with_energy(**changed: object) -> RunReport:
    assert REPORT.energy is not None
    return REPORT.model_copy(update={"energy": REPORT.energy.model_copy(update=changed)})


def with_second_prompt(**changed: object) -> RunReport:
    first, second = REPORT.prompts
    return REPORT.model_copy(update={"prompts": (first, second.model_copy(update=changed))})


@pytest.mark.parametrize(
    ("report", "fault"),
    [
        (REPORT.model_copy(update={"workload": "nonsense"}), "no workload's key"),
        (REPORT.model_copy(update={"prompts": REPORT.prompts[:1]}), "1 prompts where"),
        (REPORT.model_copy(update={"energy": None}), "either an energy or a refusal"),
        (with_second_prompt(output_ids=(1, 2)), "has not 10 tokens"),
        (with_second_prompt(start_us=3_000_000), "run backwards"),
        (with_second_prompt(end_us=3_999_999), "run backwards"),
        (with_second_prompt(end_mj=5), "the energy counter runs backwards"),
        (with_energy(duration_us=20_000_000), "10.000 s away from the window's end"),
        (with_energy(duration_us=9_000_000), "1.000 s away from the window's end"),
    ],
)
def test_what_does_not_fit_together_is_named(report: RunReport, fault: str) -> None:
    assert any(fault in one for one in inconsistencies(report))


def test_the_prompts_of_a_batch_may_share_their_span() -> None:
    first, second = REPORT.prompts
    together = second.model_copy(update={"start_us": 0, "start_mj": 0})
    first = first.model_copy(update={"end_us": second.end_us, "end_mj": second.end_mj})
    report = REPORT.model_copy(update={"prompts": (first, together)})

    assert inconsistencies(report) == ()


def test_the_workload_of_a_report_is_the_one_that_ran() -> None:
    assert REPORT.workload == TWO_PROMPTS.key
    assert REPORT.genesis_hash == "0x" + "0" * 64
