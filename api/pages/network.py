"""Pages of the network: who measures, who checks, what came out, and how to check the checkers."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise

from fastapi import APIRouter, Request
from fastapi.responses import Response

from api.charts.power import power_trace, thinned
from api.network_evidence import LoggedVerdict, NoReport
from api.pages.shell import Context, Site
from api.problems import ProblemError
from api.release import Release
from api.subnet_answers import (
    Miners,
    MinerSummary,
    Rounds,
    RoundSummary,
    Validators,
    miners_answer,
    rounds_answer,
    validators_answer,
)
from protocol.messages import DeviceEnergy, Finding, Report
from protocol.units import joules, seconds_from_us, watts, wh_per_1k_from_uwh

VERDICTS_SHOWN = 60
ROUNDS_SHOWN = 20


def add_network(router: APIRouter, site: Site) -> None:
    """The network and one miner's report."""

    @router.get("/network")
    def network(request: Request) -> Response:
        return site.page(request, "network.html", lambda release, _: network_context(release, site))

    @router.get("/reports/{digest}")
    def report(request: Request, digest: str) -> Response:
        logged = site.evidence.verdict(digest)
        if logged is None:
            raise ProblemError(
                404, "unknown_report", "no log that is followed holds this verdict",
                hint="Choose one from the network page.",
            )  # fmt: skip
        found = site.evidence.report(logged)
        variant = found.reason if isinstance(found, NoReport) else ""
        return site.page(
            request, "report.html", lambda *_: report_context(logged, found, site), variant
        )


def network_context(release: Release, site: Site) -> Context:
    """The network as the verified logs tell it; tables are the API's answers."""
    validators = Validators.model_validate_json(validators_answer(release)).validators
    rounds = Rounds.model_validate_json(rounds_answer(release)).rounds
    miners = Miners.model_validate_json(miners_answer(release)).miners
    newest = site.evidence.newest(VERDICTS_SHOWN)
    return {
        "validators": validators,
        "rounds": rounds[:ROUNDS_SHOWN],
        "miners": miners,
        "heads": {head.url: head for head in site.evidence.heads()},
        "verdicts": newest,
        "digests": _newest_by_miner(newest),
        "facts": facts(validators_ok(validators), rounds, miners),
        "contested": sorted({key for each in rounds[:ROUNDS_SHOWN] for key in each.contested}),
        "cells": _cells(release, rounds),
        "wh": wh_per_1k_from_uwh,
        "largest": max((miner.weight_u16 or 0 for miner in miners), default=0) or 1,
    }


def validators_ok(validators: Sequence[object]) -> int:
    """Logs that verify now."""
    return sum(getattr(validator, "state", "") == "ok" for validator in validators)


def facts(
    validators: int, rounds: Sequence[RoundSummary], miners: Sequence[MinerSummary]
) -> tuple[tuple[str, str, str], ...]:
    """Label, figure and unit of the network at a glance."""
    judged = sum(each.verdict_count for each in rounds)
    valid = sum(each.valid_count for each in rounds)
    rate = f"{valid / judged:.0%}" if judged else "-"
    newest = max((each.round for each in rounds), default=None)
    return (
        ("Miners", str(len({miner.miner for miner in miners})), "in the newest round"),
        ("Validators", str(validators), "whose logs verify"),
        ("Rounds", str(len({each.round for each in rounds})), f"newest: {newest}"),
        ("Verification rate", rate, f"{valid} of {judged} reports stood"),
    )


def report_context(logged: LoggedVerdict, found: Report | NoReport, site: Site) -> Context:
    """One verdict, with its report as far as its validator still serves it."""
    verdict = logged.verdict
    report = None if isinstance(found, NoReport) else found
    failed = [finding for finding in verdict.findings if not finding.passed]
    return {
        "logged": logged,
        "verdict": verdict,
        "failed": failed,
        "passed": [finding for finding in verdict.findings if finding.passed],
        "words": finding_words,
        "inclusion": site.evidence.inclusion(logged),
        "report": report,
        "why_no_report": found.reason if isinstance(found, NoReport) else "",
        "traces": [_trace(report, device) for device in report.device_energy] if report else [],
        "energy_j": joules(verdict.energy_mj) if verdict.energy_mj is not None else None,
        "duration_s": (
            seconds_from_us(verdict.duration_us) if verdict.duration_us is not None else None
        ),
        "wh_per_1k": (
            wh_per_1k_from_uwh(verdict.energy_per_1k_output_tokens_uwh)
            if verdict.energy_per_1k_output_tokens_uwh is not None
            else None
        ),
    }


def finding_words(finding: Finding) -> tuple[str, str]:
    """A check's name in words and its unit, which is the last word of its code."""
    words = finding.code.split("_")
    name, unit = " ".join(words[:-1]), words[-1]
    return name or finding.code, _UNITS.get(unit, unit)


_UNITS = {"count": "", "mj": "mJ", "mw": "mW", "us": "\N{MICRO SIGN}s"}


def _trace(report: Report, device: DeviceEnergy) -> dict[str, object]:
    times = [timedelta(milliseconds=at).total_seconds() for at in device.trace.elapsed_ms]
    powers = [watts(power) for power in device.trace.power_mw]
    points = thinned(times, powers)
    end = seconds_from_us(report.duration_us)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    summary = (
        f"Power of {device.uuid} over {end:.1f} s: {min(powers):.0f} to {max(powers):.0f} W"
        if powers
        else "no power was recorded"
    )
    return {
        "device": device,
        "svg": power_trace(points, end_s=end, summary=summary),
        "points": points,
        "summary": summary,
        "longest_gap_s": max(gaps, default=0.0),
        "energy_j": joules(device.energy_mj),
        "trace_energy_j": (
            joules(device.trace_energy_mj) if device.trace_energy_mj is not None else None
        ),
    }


def _newest_by_miner(verdicts: Sequence[LoggedVerdict]) -> dict[tuple[str, str], str]:
    """Digest of the newest verdict per validator and miner."""
    found: dict[tuple[str, str], str] = {}
    for logged in verdicts:
        found.setdefault((logged.verdict.validator, logged.verdict.miner), logged.digest)
    return found


def _cells(release: Release, rounds: Sequence[RoundSummary]) -> list[object]:
    """Cell values of the newest round of each validator."""
    newest: dict[str, int] = {}
    for each in rounds:
        newest[each.validator] = max(each.round, newest.get(each.validator, -1))
    return [
        value
        for source in release.records
        if source.record.round == newest.get(source.validator)
        for value in source.record.cells
    ]
