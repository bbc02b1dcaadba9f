"""What validators made of this miner's reports, in words and figures."""

import json

import pytest

from miner.advice import ADVICE
from miner.outcome import reason_of
from miner.verdicts import OwnRounds
from protocol.canonical import Json, canonical_bytes
from protocol.errors import (
    MeasurementError,
    ProtocolError,
    RejectionCode,
    StoreError,
    WorkloadError,
)
from protocol.messages import Finding, RoundRecord, Verdict
from protocol.signing import Signed, sign
from tests.support.factories import (
    MINER,
    VALIDATOR,
    rejecting_verdict,
    round_record,
    verdict,
)
from tests.support.keys import CHARLIE, DevSigner


def entry(message: Verdict | RoundRecord, signer: DevSigner = VALIDATOR) -> dict[str, Json]:
    """A log entry as a server's JSON gives it."""
    content: dict[str, Json] = json.loads(canonical_bytes(sign(message, signer)))
    return content


def gathered(*messages: Verdict | RoundRecord) -> OwnRounds:
    own = OwnRounds(MINER.hotkey)
    own.take([entry(message) for message in messages])
    return own


def test_an_accepted_report_has_its_figure_score_and_weight() -> None:
    (found,) = gathered(verdict(), round_record()).judgements()

    assert (found.accepted, found.code, found.finding) == (True, "", "accepted")
    assert found.energy_wh_per_1k_output_tokens == pytest.approx(0.416667)
    assert (found.score, found.average_score) == (2.0, 0.2)
    assert found.weight_share == pytest.approx(0.2)


def test_a_rejection_is_told_in_its_words_with_advice() -> None:
    (found,) = gathered(rejecting_verdict()).judgements()

    assert (found.accepted, found.code) == (False, "unreachable")
    assert found.finding.startswith("unreachable: said")
    assert "MINER_PORT" in found.advice
    assert found.energy_wh_per_1k_output_tokens is None
    assert found.score is None


def test_what_kept_the_score_from_being_full_is_named() -> None:
    soft = Finding(
        code="idle_drift_ppm", passed=False, hard=False, value=90_000, low=None, high=50_000
    )
    score = round_record().scores[0]
    outlying = score.model_copy(update={"z_milli": -5_400, "consistency_ppm": 0})

    (found,) = gathered(
        verdict().model_copy(update={"findings": (soft,)}),
        round_record().model_copy(update={"scores": (outlying,)}),
    ).judgements()

    assert found.finding == (
        "accepted; idle_drift_ppm is 90000, at most 50000 is usual;"
        " 5.4 standard deviations below the other operators"
    )


def test_rounds_come_newest_first_and_those_of_others_not_at_all() -> None:
    later = verdict().model_copy(update={"round": 9})
    others = verdict().model_copy(update={"round": 8, "miner": CHARLIE.hotkey})

    found = gathered(verdict(), others, later).judgements()

    assert [one.round for one in found] == [9, 7]


def test_an_entry_that_its_validator_did_not_sign_is_not_believed() -> None:
    own = OwnRounds(MINER.hotkey, validator=VALIDATOR.hotkey)

    with pytest.raises(ProtocolError):
        own.take([entry(verdict(), CHARLIE)])

    assert own.judgements() == ()


@pytest.mark.parametrize(
    "strange", [{}, [], 3, None, {"payload": 3}, {"payload": {"kind": "round"}}]
)
def test_an_entry_that_is_none_is_malformed(strange: Json) -> None:
    with pytest.raises(ProtocolError):
        OwnRounds(MINER.hotkey).take([strange])


def test_a_log_has_one_author() -> None:
    own = gathered(verdict())
    other = verdict().model_copy(update={"validator": CHARLIE.hotkey})

    with pytest.raises(ProtocolError):
        own.take([entry(other, CHARLIE)])


def test_there_is_advice_on_every_code() -> None:
    own = {reason_of(error("x")) for error in (StoreError, WorkloadError, MeasurementError)}

    assert {code.value for code in RejectionCode} | own | {"no_time", "no_space"} == set(ADVICE)


def test_the_signed_form_of_entries_is_the_logs() -> None:
    signed = Signed[Verdict].model_validate_json(json.dumps(entry(verdict())))

    assert signed.payload == verdict()
