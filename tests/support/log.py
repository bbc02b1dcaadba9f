"""A validator's log server as the wire contract describes it, made from protocol code.

`DevLog` signs with a development key and can misbehave on demand: rewrite its past, shrink,
fork, sign with another key, or answer rubbish.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import httpx

from protocol.canonical import Json, canonical_bytes, canonical_json
from protocol.ids import Digest, RoundNumber
from protocol.merkle import MerkleTree
from protocol.messages import Cell, CellValue, MeterKind, RoundRecord, TreeHead, Verdict
from protocol.signing import Signed, sign
from protocol.workload import FULL_TAGGED
from tests.support import factories
from tests.support.keys import ALICE, DevSigner

FIRST_UNIX_MS = 1_795_000_000_000
ROUND_MS = 120_000
Entry = Signed[Verdict] | Signed[RoundRecord]


def cell(model: str = "HuggingFaceTB/SmolLM2-135M-Instruct", **changes: object) -> Cell:
    """A cell of the smoke workload on a simulated GPU."""
    return factories.cell().model_copy(update={"model": model, **changes})


def real_cell(model: str = "meta-llama/Llama-3.1-8B-Instruct") -> Cell:
    """A cell of the full workload that only a real GPU gives."""
    changes = {"gpu": "NVIDIA H100 80GB HBM3", "meter": MeterKind.NVML}
    return cell(model, workload=FULL_TAGGED.key, **changes)


def value(
    of: Cell | None = None, uwh: int = 500_000, spread: float = 0.1, **changes: object
) -> CellValue:
    """A cell value of so many micro-Wh per 1,000 output tokens, known to within a share."""
    return (
        factories.round_record()
        .cells[0]
        .model_copy(
            update={
                "cell": of or cell(),
                "energy_per_1k_output_tokens_uwh": uwh,
                "low_uwh": round(uwh * (1 - spread)),
                "high_uwh": round(uwh * (1 + spread)),
                "operator_count": 3,
                "report_count": 3,
                "label": "corroborated",
                **changes,
            }
        )
    )


@dataclass
class DevLog:
    """One validator's log and its server."""

    signer: DevSigner = ALICE
    entries: list[Entry] = field(default_factory=list)
    head_signer: DevSigner | None = None
    """Who signs heads instead of the validator."""
    head_changes: dict[str, object] = field(default_factory=dict)
    """Fields of the head that are falsified before it is signed."""
    overrides: dict[str, Callable[[], httpx.Response]] = field(default_factory=dict)
    """Answers by path that replace the true ones."""
    requests: list[str] = field(default_factory=list)

    def add_round(self, cells: Sequence[CellValue], number: int | None = None) -> None:
        """One verdict and the round record over it."""
        number = len(self.entries) // 2 + 1 if number is None else number
        author = {"validator": self.signer.hotkey, "round": RoundNumber(number)}
        verdict = factories.verdict().model_copy(update=author)
        record = factories.round_record().model_copy(update={**author, "cells": tuple(cells)})
        self.entries += [sign(verdict, self.signer), sign(record, self.signer)]

    def fork(self) -> "DevLog":
        """Another log of the same length by the same validator."""
        other = replace(self, entries=[], requests=[])
        for number in range(len(self.entries) // 2):
            other.add_round([value(uwh=123_456 + number)])
        return other

    def head(self) -> Signed[TreeHead]:
        """The signed head over all entries."""
        tree = self._tree()
        head = factories.tree_head().model_copy(
            update={
                "validator": self.signer.hotkey,
                "size": len(tree),
                "root": Digest(tree.root().hex()),
                "unix_ms": FIRST_UNIX_MS + ROUND_MS * len(self.entries),
                **self.head_changes,
            }
        )
        return sign(head, self.head_signer or self.signer)

    def answer(self, request: httpx.Request) -> httpx.Response:
        """What the server says to a request."""
        path = request.url.path
        self.requests.append(request.url.raw_path.decode())
        if path in self.overrides:
            return self.overrides[path]()
        query = {name: int(text) for name, text in request.url.params.items()}
        if path == "/v1/log/head" and self.entries:
            return _json(canonical_bytes(self.head()))
        if path == "/v1/log/entries":
            return self._entries(query)
        if path == "/v1/log/consistency":
            proof = self._tree().consistency_proof(query["old"], query["new"])
            nodes: list[Json] = [node.hex() for node in proof]
            return _json(canonical_json({**query, "proof": nodes}))
        return httpx.Response(404, json={"status": 404, "code": "not_found"})

    def _entries(self, query: Mapping[str, int]) -> httpx.Response:
        page = self.entries[query["start"] : query["start"] + query["limit"]]
        body = b'{"start":%d,"size":%d,"entries":[%b]}'
        entries = b",".join(canonical_bytes(entry) for entry in page)
        return _json(body % (query["start"], len(self.entries), entries))

    def _tree(self) -> MerkleTree:
        return MerkleTree.of(canonical_bytes(entry) for entry in self.entries)


def client_of(logs: Mapping[str, DevLog]) -> httpx.AsyncClient:
    """A client that reaches each log under its base URL, and nothing else."""

    async def answer(request: httpx.Request) -> httpx.Response:
        base = f"{request.url.scheme}://{request.url.netloc.decode()}"
        if base not in logs:
            raise httpx.ConnectError("connection refused", request=request)
        return logs[base].answer(request)

    return httpx.AsyncClient(transport=httpx.MockTransport(answer))


def _json(body: bytes) -> httpx.Response:
    return httpx.Response(200, content=body, headers={"content-type": "application/json"})
