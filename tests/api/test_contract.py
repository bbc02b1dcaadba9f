"""Requests made from the OpenAPI document: no fault of ours, no answer outside the schema."""

import asyncio
import atexit
import importlib
import os
import tempfile
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import hypothesis
import pytest

from api.app import create_app
from api.archive import Archive
from api.catalogue import Catalogue
from api.prices import NoPrices
from api.refresh import Sources, refresh
from api.release import Holder
from api.store import Store
from api.tables import load_catalogue
from tests.support.refreshing import NoReadings, StaticLogs

schemathesis = pytest.importorskip("schemathesis", reason="pip install schemathesis")
checks = importlib.import_module("schemathesis.specs.openapi.checks")
CHECKS = (
    schemathesis.checks.CHECKS.get_one("not_a_server_error"),
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
)
"""What an answer must keep. Which values are refused is said more closely than JSON Schema can."""
EXAMPLES = int(os.environ.get("CONTRACT_EXAMPLES", "5"))
SOAK_CASES = int(os.environ.get("CONTRACT_CASES", "10000"))
SETTINGS = hypothesis.settings(
    deadline=None,
    suppress_health_check=list(hypothesis.HealthCheck),
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    database=None,
)
NOW = datetime.now(UTC)


def _archive() -> Archive:
    folder = tempfile.TemporaryDirectory(prefix="contract")
    atexit.register(folder.cleanup)
    store = Store.open(f"sqlite:///{folder.name}/api.sqlite3")
    atexit.register(store.close)
    return Archive.beside(store)


def _few(catalogue: Catalogue) -> Catalogue:
    """Few models in every place: the contract is the same, and an answer is quick."""
    kept = {"llama-3.1-8b", "mistral-7b", "gpt-5", "falcon-7b"}
    return replace(
        catalogue,
        models={slug: model for slug, model in catalogue.models.items() if slug in kept},
        served=[point for point in catalogue.served if point.model in kept],
        single=[record for record in catalogue.single if record.model in kept],
        evidence=[item for item in catalogue.evidence if item.model in kept],
    )


def _application() -> Any:  # noqa: ANN401 - see above
    holder, archive = Holder(), _archive()
    sources = Sources(
        catalogue=_few(load_catalogue()),
        logs=StaticLogs(),
        grid=NoReadings(),
        prices=NoPrices(),
        keeper=Store(archive.engine),
    )
    asyncio.run(refresh(sources, holder, NOW))
    holder.succeeded(NOW)
    return create_app(holder, archive=archive)


application = _application()
schema = schemathesis.openapi.from_asgi("/openapi.json", application)


@schema.parametrize()  # type: ignore[untyped-decorator]  # the module is optional
@hypothesis.settings(SETTINGS, max_examples=EXAMPLES)
def test_every_operation_keeps_its_word(case: Any) -> None:  # noqa: ANN401 - see above
    case.call_and_validate(checks=CHECKS)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_ten_thousand_cases_find_no_fault() -> None:
    operations = {found.ok().label: found.ok() for found in schema.get_all_operations()}
    share = SOAK_CASES // len(operations)
    counted: Counter[str] = Counter()
    wanted, rounds = list(operations), 0
    while counted.total() < SOAK_CASES:
        rounds += 1
        for name in wanted:
            counted[name] += _examined(operations[name], share, seed=rounds)
        # An operation without parameters has one case only: the others make up for it.
        wanted = [name for name in wanted if counted[name] >= rounds * share]

    assert set(counted) == set(operations)


def _examined(operation: Any, cases: int, seed: int) -> int:  # noqa: ANN401 - see above
    """Send so many cases, fewer where there are not as many; how many were sent."""
    sent = 0

    @hypothesis.seed(seed)
    @hypothesis.given(case=operation.as_strategy())
    @hypothesis.settings(SETTINGS, max_examples=cases)
    def send(case: Any) -> None:  # noqa: ANN401 - see above
        nonlocal sent
        sent += 1
        case.call_and_validate(checks=CHECKS)

    send()
    return sent
