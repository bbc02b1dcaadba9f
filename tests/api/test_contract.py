"""Requests made from the OpenAPI document: no fault of ours, no answer outside the schema."""

import asyncio
import importlib
import os
from datetime import UTC, datetime
from typing import Any

import hypothesis
import pytest

from api.app import create_app
from api.prices import NoPrices
from api.refresh import Sources, refresh
from api.release import Holder
from api.tables import load_catalogue
from tests.support.refreshing import NoReadings, ReleaseList, StaticLogs

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


def _application() -> object:
    holder = Holder()
    sources = Sources(
        catalogue=load_catalogue(),
        logs=StaticLogs(),
        grid=NoReadings(),
        prices=NoPrices(),
        keeper=ReleaseList(),
    )
    now = datetime.now(UTC)
    asyncio.run(refresh(sources, holder, now))
    holder.succeeded(now)
    return create_app(holder)


schema = schemathesis.openapi.from_asgi("/openapi.json", _application())


@schema.parametrize()  # type: ignore[untyped-decorator]  # the module is optional
@hypothesis.settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(hypothesis.HealthCheck),
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
)
def test_every_operation_keeps_its_word(case: Any) -> None:  # noqa: ANN401 - see above
    case.call_and_validate(checks=CHECKS)
