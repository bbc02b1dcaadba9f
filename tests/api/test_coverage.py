"""What the table holds on a fresh machine: models, families, providers, places, labels."""

from api.catalogue import Access, Certainty
from api.energy import Regime
from api.grid.intensity import Period, Tier
from api.release import Release
from protocol.messages import Status

FAMILIES = {
    "Llama",
    "GPT",
    "Claude",
    "Mistral",
    "Gemma",
    "Qwen",
    "DeepSeek",
    "Phi",
    "Falcon",
    "Cohere",
}
MEASURED = {Status.VERIFIED, Status.PUBLISHED}


def test_eighty_five_models_in_ten_families_have_a_figure(release: Release) -> None:
    models = [release.models[slug] for slug in {figure.model for figure in release.figures}]
    inside = [model for model in models if model.family in FAMILIES]

    assert len(inside) >= 85
    assert {model.family for model in inside} == FAMILIES


def test_thirty_nine_of_them_were_measured_with_method_hardware_and_date(release: Release) -> None:
    measured = [figure for figure in release.figures if figure.status in MEASURED]
    models = {
        figure.model for figure in measured if release.models[figure.model].family in FAMILIES
    }

    assert len(models) >= 39
    for figure in measured:
        assert figure.method
        assert figure.hardware
        assert figure.batch >= 1
        assert figure.energy.source
        assert figure.energy.date
        assert figure.energy.licence


def test_six_providers_are_known_and_none_sells_without_evidence(release: Release) -> None:
    providers = release.catalogue.providers.values()
    sold = {row.provider.id for row in release.rows if row.access is Access.API}

    assert {p.id for p in providers if p.access is Access.API} == {
        "aws-bedrock",
        "azure-openai",
        "fireworks",
        "gcp-vertex",
        "groq",
        "together",
    }
    assert sold == {p.id for p in providers if p.access is Access.API} - {"groq"}
    evidence = {
        (item.provider, item.model, item.region, item.certainty)
        for item in release.catalogue.evidence
    }
    for row in release.rows:
        if row.access is Access.API:
            assert (row.provider.id, row.model.id, row.region, row.certainty) in evidence


def test_groq_is_named_with_the_reason_and_without_a_gpu_figure(release: Release) -> None:
    reasons = {item.reason for item in release.table.unranked if item.provider == "groq"}

    assert len(reasons) == 1
    assert "LPU" in reasons.pop()


def test_at_least_nine_places_have_a_pinned_row_and_a_day(release: Release) -> None:
    pinned = {row.places[0].id for row in release.rows if row.certainty is Certainty.PINNED}
    now = release.computed_at.replace(minute=0, second=0, microsecond=0)

    assert len(pinned) >= 18
    curves = 0
    for place in release.catalogue.places.values():
        if place.tabulated:
            day = release.ladder.day(place, now)
            assert len(day) == 24
            curves += day[0].tier is Tier.PROFILE
    assert curves >= 9


def test_every_row_names_its_regime_and_no_ranking_mixes_them(release: Release) -> None:
    for row in release.rows:
        assert row.regime in Regime
        assert (row.figure.batch == 1) == (row.regime is Regime.SINGLE)
        assert all(row.carbon[period].total.value > 0 for period in Period)
