"""Evidence: verified entries from the database, reports only as they were judged."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from api.network_evidence import LoggedVerdict, NoEvidence, NoReport
from api.store import Store
from api.stored_evidence import MAX_BYTES, StoredEvidence
from api.verdicts import LogAddress, ValidatorLogs
from protocol.canonical import canonical_bytes
from protocol.merkle import verify_inclusion
from protocol.messages import Report
from protocol.signing import sign
from tests.support import factories
from tests.support.log import DevLog, client_of, value

NOW = datetime(2026, 11, 21, 20, 15, tzinfo=UTC)


class ReportServer:
    """A validator that serves one body for every report."""

    def __init__(self) -> None:
        self.body = b""
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                self.send_response(200 if outer.body else 404)
                self.end_headers()
                self.wfile.write(outer.body)

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def server() -> Iterator[ReportServer]:
    opened = ReportServer()
    thread = Thread(target=opened.server.serve_forever)
    thread.start()
    yield opened
    opened.server.shutdown()
    thread.join()
    opened.server.server_close()


@pytest.fixture
def evidence(store: Store, server: ReportServer) -> StoredEvidence:
    log = DevLog()
    log.add_round([value()])
    log.add_round([value()])

    async def pull() -> None:
        async with client_of({server.url: log}) as client:
            await ValidatorLogs([LogAddress(url=server.url)], store, client).pull(NOW)

    asyncio.run(pull())
    return StoredEvidence(store)


@pytest.fixture
def logged(evidence: StoredEvidence) -> LoggedVerdict:
    return evidence.newest(1)[0]


def test_the_newest_verdict_comes_first_and_is_found_by_its_digest(
    evidence: StoredEvidence, logged: LoggedVerdict
) -> None:
    assert [each.verdict.round for each in evidence.newest(10)] == [2, 1]
    assert evidence.verdict(logged.digest) == logged
    assert evidence.verdict("0" * 64) is None


def test_the_inclusion_proof_leads_to_the_head(
    evidence: StoredEvidence, logged: LoggedVerdict
) -> None:
    proof = evidence.inclusion(logged)
    head = evidence.heads()[0]

    assert (proof.size, proof.root) == (head.size, head.root)
    verify_inclusion(
        leaf=bytes.fromhex(logged.leaf_hash),
        index=logged.position,
        size=proof.size,
        root=bytes.fromhex(proof.root),
        proof=[bytes.fromhex(node) for node in proof.path],
    )


def test_the_report_that_was_judged_is_shown_and_kept(
    evidence: StoredEvidence, logged: LoggedVerdict, server: ReportServer
) -> None:
    server.body = canonical_bytes(sign(factories.report(), factories.MINER))

    assert evidence.report(logged) == factories.report()
    assert isinstance(evidence.report(logged), Report)
    assert server.asked == [f"/v1/reports/{logged.verdict.report_digest}"]


@pytest.mark.parametrize("body", [b"", b"nonsense", b"{}", b"x" * (MAX_BYTES + 1)])
def test_what_is_no_report_is_refused_with_a_reason(
    evidence: StoredEvidence, logged: LoggedVerdict, server: ReportServer, body: bytes
) -> None:
    server.body = body
    found = evidence.report(logged)

    assert isinstance(found, NoReport)
    assert "the validator" in found.reason


def test_another_report_of_the_same_miner_is_refused(
    evidence: StoredEvidence, logged: LoggedVerdict, server: ReportServer
) -> None:
    server.body = canonical_bytes(sign(factories.report(prompt_count=3), factories.MINER))
    found = evidence.report(logged)

    assert isinstance(found, NoReport)
    assert "not the report that was judged" in found.reason


def test_a_validator_that_is_gone_is_named(
    evidence: StoredEvidence, logged: LoggedVerdict, server: ReportServer
) -> None:
    server.server.server_close()
    found = evidence.report(logged)

    assert isinstance(found, NoReport)
    assert "does not answer" in found.reason


def test_a_report_that_is_missing_is_not_asked_for_at_each_view(
    evidence: StoredEvidence, logged: LoggedVerdict, server: ReportServer
) -> None:
    first = evidence.report(logged)

    assert evidence.report(logged) == first
    assert len(server.asked) == 1


def test_a_node_without_logs_has_nothing_to_show() -> None:
    nothing = NoEvidence()

    assert (nothing.heads(), nothing.newest(5), nothing.verdict("0" * 64)) == ((), (), None)
