"""Protocol checks: what a report must agree with, rule by rule."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import RejectionCode
from protocol.ids import BlockHash, Digest, GenesisHash, Hotkey, Netuid, RoundNumber
from protocol.messages import Finding, MeterKind, ModelRef, Report
from protocol.workload import PromptSet, Workload, WorkloadForm
from tests.support import factories
from validator.checks import (
    REJECTIONS,
    Input,
    Terms,
    bounded,
    check_commitment,
    check_inputs,
    check_profile,
    check_report,
    describe,
    input_of,
    none_of,
    rejection_of,
)
from validator.physics import Background, check_physics

WORKLOAD = Workload(
    name="aies-textgen-v1-smoke",
    form=WorkloadForm.TAGGED,
    prompts=PromptSet.STANDIN,
    prompt_count=2,
)
MODEL = (factories.MODEL.id, factories.MODEL.revision)


def terms(**changes: object) -> Terms:
    """What the example report answers."""
    fields: dict[str, object] = {
        "genesis_hash": GenesisHash(factories.GENESIS_HASH),
        "netuid": Netuid(factories.NETUID),
        "hotkey": Hotkey(factories.MINER.hotkey),
        "round": RoundNumber(factories.ROUND),
        "block_hash": BlockHash(factories.BLOCK_HASH),
        "workload": WORKLOAD,
        "profile": factories.profile(),
        "catalogued": frozenset({MODEL}),
        "weights_digest": Digest(factories.MODEL.weights_digest),
        "accepts_simulated": True,
    }
    return Terms(**(fields | changes))  # type: ignore[arg-type]


def failures(findings: tuple[Finding, ...]) -> list[str]:
    return [finding.code for finding in findings if not finding.passed]


def test_the_example_passes_every_protocol_check() -> None:
    report, commitment = factories.report(), factories.commitment()

    assert failures(check_profile(terms())) == []
    assert failures(check_commitment(terms(), commitment)) == []
    assert failures(check_report(terms(), commitment, report)) == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"netuid": Netuid(3)}, "chain_mismatch_count"),
        ({"genesis_hash": "0x" + "ff" * 32}, "chain_mismatch_count"),
        ({"hotkey": Hotkey(factories.OPERATOR)}, "miner_mismatch_count"),
        ({"round": RoundNumber(8)}, "round_mismatch_count"),
        ({"block_hash": BlockHash("0x" + "00" * 32)}, "round_mismatch_count"),
        ({"catalogued": frozenset()}, "unknown_model_count"),
        ({"weights_digest": Digest("00" * 32)}, "weights_mismatch_count"),
    ],
)
def test_a_commitment_to_something_else_is_found(changes: dict[str, object], code: str) -> None:
    assert failures(check_commitment(terms(**changes), factories.commitment())) == [code]


def test_weights_are_not_compared_where_the_validator_has_none() -> None:
    assert failures(check_commitment(terms(weights_digest=None), factories.commitment())) == []


def test_a_profile_that_changed_after_it_was_served_is_found() -> None:
    changed = factories.profile().model_copy(update={"engine": "vllm"})

    found = check_commitment(terms(profile=changed), factories.commitment())

    assert failures(found) == ["profile_mismatch_count"]


def test_another_model_of_the_profile_is_the_wrong_assignment() -> None:
    other = ModelRef(id="other", revision="1", weights_digest="00" * 32, dtype="float32")
    profile = factories.profile().model_copy(update={"models": (other,)})

    found = check_commitment(terms(profile=profile), factories.commitment())

    assert "assignment_mismatch_count" in failures(found)
    assert "unknown_model_count" in failures(found)


def test_simulated_devices_count_only_where_the_network_takes_them() -> None:
    nvml = factories.ENVIRONMENT.model_copy(update={"meter": MeterKind.NVML})
    hidden = factories.profile().model_copy(update={"environment": nvml})

    assert failures(check_profile(terms(accepts_simulated=False))) == ["simulated_device_count"]
    found = check_profile(terms(accepts_simulated=False, profile=hidden))
    assert failures(found) == ["simulated_device_count"]


@pytest.mark.parametrize(
    "update",
    [{"energy_mj": 1}, {"duration_us": 1}, {"engine": "vllm"}, {"round": 8}],
)
def test_any_change_after_the_commitment_is_found(update: dict[str, object]) -> None:
    report = factories.report().model_copy(update=update)

    found = check_report(terms(), factories.commitment(), report)

    assert "commitment_mismatch_count" in failures(found)


def test_leaves_out_of_order_and_short_answers_are_found() -> None:
    report = factories.report()
    first, second = report.leaves
    short = first.model_copy(update={"output_ids": first.output_ids[:9]})
    changed = report.model_copy(update={"leaves": (second, short)})

    found = check_report(terms(), factories.commitment(changed), changed)

    assert failures(found) == ["leaf_order_count", "output_length_count"]


def test_a_missing_prompt_is_found() -> None:
    report = factories.report(prompt_count=1)

    found = check_report(terms(), factories.commitment(report), report)

    assert failures(found) == ["prompt_mismatch_count"]


def test_wrong_length_means_another_prompt_and_wrong_ids_another_chain() -> None:
    leaves = factories.report().leaves
    right = [Input(tokens=leaf.input_tokens, digest=leaf.input_digest) for leaf in leaves]
    longer = [Input(tokens=99, digest=right[0].digest), right[1]]
    stale = [Input(tokens=one.tokens, digest="f" * 16) for one in right]
    broken = [right[0], Input(tokens=right[1].tokens, digest="f" * 16)]

    assert failures(check_inputs(leaves, right)) == []
    assert failures(check_inputs(leaves, longer)) == ["input_length_count"]
    assert failures(check_inputs(leaves, stale)) == ["stale_nonce_count", "nonce_chain_count"]
    assert failures(check_inputs(leaves, broken)) == ["nonce_chain_count"]


def test_an_input_is_known_by_its_ids() -> None:
    assert input_of([1, 2, 3]).tokens == 3
    assert input_of([1, 2, 3]).digest != input_of([3, 2, 1]).digest


@given(
    st.integers(-(2**70), 2**70),
    st.none() | st.integers(-(2**60), 2**60),
    st.none() | st.integers(-(2**60), 2**60),
)
def test_any_number_fits_a_finding(value: int, low: int | None, high: int | None) -> None:
    finding = bounded("odd_count", value, low=low, high=high, hard=True)

    assert abs(finding.value) < 2**53


def test_the_first_failed_hard_finding_rejects() -> None:
    soft = bounded("mean_power_ppm", 5, high=3, hard=False)
    hard = bounded("idle_floor_mj", 1, low=7, hard=True)

    assert rejection_of((soft,)) is None
    rejection = rejection_of((soft, hard, none_of("leaf_order_count", 2)))
    assert rejection is not None
    assert rejection.code is RejectionCode.ENERGY_IMPOSSIBLE
    assert rejection.detail == "idle_floor_mj is 1, at least 7 is allowed"
    assert describe(soft) == "mean_power_ppm is 5, at most 3 is allowed"


def test_every_hard_finding_has_a_rejection() -> None:
    background = Background(
        parameters=135_000_000,
        weights_bytes=540_000_000,
        observed=None,
        baseline=None,
        earlier_energies_mj=(),
        uuid_claims=0,
    )
    report: Report = factories.report()
    found = (
        *check_profile(terms()),
        *check_commitment(terms(), factories.commitment()),
        *check_report(terms(), factories.commitment(), report),
        *check_inputs(report.leaves, [input_of([1])] * 2),
        *check_physics(report, background),
    )

    assert {finding.code for finding in found if finding.hard} <= REJECTIONS.keys()
