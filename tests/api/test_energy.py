"""Energy figures: from the published tables to watt-hours per million output tokens."""

import pytest

from api.catalogue import Catalogue, ModelSlug
from api.energy import Regime, modelled_figures, primary, served_figures, single_figures
from protocol.messages import Status


def test_llama_8b_on_an_h100_at_batch_64_as_ml_energy_published_it(catalogue: Catalogue) -> None:
    figures = {(f.model, f.id): f for f in served_figures(catalogue.served)}

    figure = figures[ModelSlug("llama-3.1-8b"), "ml.energy-v3-h100-80gb"]

    assert figure.batch == pytest.approx(64, abs=0.1)
    assert figure.energy.estimate.value == pytest.approx(32.94, abs=0.01)
    assert figure.status is Status.PUBLISHED
    assert figure.regime is Regime.SERVED
    assert figure.speed_tokens_per_second == pytest.approx(87, abs=1)


def test_a_providers_interval_spans_the_batches_that_it_may_run(catalogue: Catalogue) -> None:
    figures = {(f.model, f.id): f for f in served_figures(catalogue.served)}

    figure = figures[ModelSlug("llama-3.1-8b"), "ml.energy-v3-h100-80gb"]

    assert figure.provider_energy.estimate.low == pytest.approx(19.5 / 1.098, rel=0.01)
    assert figure.provider_energy.estimate.high == pytest.approx(73.0 * 1.098, rel=0.01)
    assert figure.energy.estimate.high == pytest.approx(32.94 * 1.098, rel=0.001)


def test_ai_energy_score_counts_ten_tokens_to_a_query(catalogue: Catalogue) -> None:
    figures = {f.model: f for f in single_figures(catalogue.single)}

    figure = figures[ModelSlug("llama-3-8b")]

    assert figure.energy_wh_per_1k_queries == 17.333
    assert figure.energy.estimate.value == pytest.approx(1_733.3)
    assert figure.regime is Regime.SINGLE


def test_reasoning_rows_without_token_counts_give_no_figure_per_token(
    catalogue: Catalogue,
) -> None:
    without = [r for r in catalogue.single if r.output_tokens_per_query is None]

    assert without
    assert len(list(single_figures(catalogue.single))) == len(catalogue.single) - len(without)


def test_the_regression_gives_what_ecologits_gives(catalogue: Catalogue) -> None:
    figures = {f.model: f for f in modelled_figures(catalogue.models.values())}

    # 1.1665e-06 exp(-0.011206 x 64) x 8.03 + 4.0529e-05 Wh per token on one GPU
    assert figures[ModelSlug("llama-3-8b")].energy.estimate.value == pytest.approx(45.1, abs=0.1)


def test_a_closed_models_interval_spans_its_guessed_sizes(catalogue: Catalogue) -> None:
    figures = {f.model: f for f in modelled_figures(catalogue.models.values())}

    energy = figures[ModelSlug("gpt-5")].energy

    assert energy.status is Status.MODELLED
    assert energy.estimate.high / energy.estimate.low > 4
    assert "30 to 90 billion" in energy.note


def test_the_tables_hold_what_was_promised(catalogue: Catalogue) -> None:
    measured = {f.model for f in served_figures(catalogue.served)}
    measured |= {f.model for f in single_figures(catalogue.single)}
    modelled = {f.model for f in modelled_figures(catalogue.models.values())}
    families = {catalogue.models[slug].family for slug in measured | modelled}

    assert len(measured) >= 39
    assert len(measured | modelled) >= 85
    assert families >= {
        "Llama", "GPT", "Claude", "Mistral", "Gemma", "Qwen", "DeepSeek", "Phi", "Falcon", "Cohere",
    }  # fmt: skip


def test_the_newest_h100_figure_stands_for_a_model(catalogue: Catalogue) -> None:
    own = [f for f in served_figures(catalogue.served) if f.model == "llama-3.1-8b"]

    chosen = primary(own)

    assert len(own) == 4
    assert chosen is not None
    assert chosen.id == "ml.energy-v3-h100-80gb"


def test_no_figure_stands_for_a_model_without_one() -> None:
    assert primary([]) is None


def test_every_figure_names_its_source_and_date(catalogue: Catalogue) -> None:
    for figure in [*served_figures(catalogue.served), *single_figures(catalogue.single)]:
        assert figure.energy.source
        assert figure.energy.date
        assert figure.energy.licence
