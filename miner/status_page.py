"""The page `/status`: where this miner stands, for a person with a browser.

One page without script and without a request to anywhere; it reloads by a header. Everything
that others wrote (verdicts' words, hotkeys) is escaped.
"""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Refresh": "30",
}
_STYLE = (
    ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;"
    "margin:2rem auto;padding:0 1rem}table{border-collapse:collapse;width:100%}"
    "th,td{text-align:left;vertical-align:top;padding:.35rem .6rem .35rem 0;"
    "border-bottom:1px solid #8886}td.n,th.n{text-align:right}code{overflow-wrap:anywhere}"
)


def status_page(standing: Mapping[str, Any]) -> bytes:
    """The page for what `Standing.as_json` gives."""
    uid = standing["uid"]
    facts = {
        "hotkey": standing["hotkey"],
        "UID": "none: the hotkey is not registered" if uid is None else uid,
        "network": standing["network"],
        "block": f"{standing['block']}, {standing['chain_age_seconds']:.0f} s ago",
        "round": f"{standing['round']}, {standing['phase']}",
        "this miner": standing["state"],
    }
    parts = (
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width'>",
        f"<title>CarbonBench miner</title><style>{_STYLE}</style>",
        "<main><h1>CarbonBench miner</h1>",
        _table((), ((name, str(value)) for name, value in facts.items())),
        "<h2>Last rounds</h2>",
        _table(("round", "ended", "reason"), _rounds(standing["last_rounds"])),
        "<h2>What validators made of them</h2>",
        _table(
            ("round", "validator", "finding", "Wh / 1k output tokens", "score", "weight"),
            _judgements(standing["validators"]),
        ),
        *_notes(standing),
        "</main></html>",
    )
    return "\n".join(parts).encode()


def _rounds(outcomes: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, ...]]:
    for outcome in outcomes:
        reason = ": ".join(part for part in (outcome["code"], outcome["detail"]) if part)
        yield str(outcome["round"]), str(outcome["ending"]), reason or outcome["model_id"]


def _judgements(views: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, ...]]:
    for view in views:
        for one in view["judgements"]:
            energy, score, weight = (
                one[name] for name in ("energy_wh_per_1k_output_tokens", "score", "weight_share")
            )
            yield (
                str(one["round"]),
                str(one["validator"]),
                f"{one['finding']}. {one['advice']}".removesuffix(". "),
                "" if energy is None else f"{energy:.3g}",
                "" if score is None else f"{score:.2f}",
                "" if weight is None else f"{weight:.1%}",
            )


def _notes(standing: Mapping[str, Any]) -> Iterable[str]:
    for view in standing["validators"]:
        if view["problem"]:
            yield f"<p>The log at <code>{_text(view['url'])}</code>: {_text(view['problem'])}</p>"
    if not standing["asked_by"]:
        yield "<p>No validator has called since this miner started.</p>"


def _table(heads: Iterable[str], rows: Iterable[tuple[str, ...]]) -> str:
    head = "".join(f"<th scope=col>{_text(name)}" for name in heads)
    body = "".join(
        "<tr>" + "".join(f"<td><code>{_text(cell)}</code>" for cell in row) for row in rows
    )
    return f"<table>{'<tr>' + head if head else ''}{body}</table>"


def _text(value: object) -> str:
    return escape(str(value))
