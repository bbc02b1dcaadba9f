"""A log to be audited, from a validator's server or from an exported file."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from protocol.canonical import Json
from protocol.errors import SourceError

_PAGE_ENTRIES = 500
_PAGE_MAX_BYTES = 64 * 1024 * 1024
_HEAD, _ENTRIES, _END = '{"head":', ',\n"entries":[\n', "\n]}\n"
"""An exported file: one line for the head, one for each entry."""
_HINT = "Give the address of a validator's log server, such as http://host:8092, or a file."


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedLog:
    """A whole log as plain JSON."""

    head: Json
    entries: tuple[Json, ...]


def read_log(source: str, *, client: httpx.Client | None = None) -> ExportedLog:
    """The log at a URL or in a file.

    Args:
        source: `http://...`, `https://...` or a path.
        client: Replaces the network in tests.

    Raises:
        SourceError: If it cannot be had, or is no log.
    """
    if source.startswith(("http://", "https://")):
        with client or httpx.Client(timeout=30.0, follow_redirects=False) as http:
            return _from_url(source.rstrip("/"), http)
    return _from_file(Path(source))


def save_log(log: ExportedLog, path: Path) -> None:
    """Write a log so that `read_log` can read it; whole or not at all.

    Raises:
        SourceError: If the file cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(
            _HEAD + _line(log.head) + _ENTRIES + ",\n".join(map(_line, log.entries)) + _END, "utf-8"
        )
        partial.replace(path)
    except OSError as error:
        raise SourceError(f"cannot write {path}: {error.strerror}") from error


def _from_file(path: Path) -> ExportedLog:
    try:
        text = path.read_bytes().decode("utf-8", errors="replace")
        content = _content(text)
        return ExportedLog(head=content["head"], entries=tuple(content["entries"]))
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}", hint=_HINT) from error
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{path} is no exported log: {error}", hint=_HINT) from error


def _content(text: str) -> dict[str, Any]:
    """What an exported file says; line by line where it is no JSON any more.

    An entry that cannot be read becomes null, so that the audit can say which one it was.

    Raises:
        ValueError: If it never was an exported log.
    """
    try:
        content = json.loads(text)
    except ValueError:
        if not (text.startswith(_HEAD) and _ENTRIES in text and text.endswith(_END)):
            raise
        head, _, entries = text.removeprefix(_HEAD).removesuffix(_END).partition(_ENTRIES)
        lines = entries.split(",\n") if entries else []
        content = {"head": _parsed(head), "entries": [_parsed(line) for line in lines]}
    if not isinstance(content, dict):
        raise TypeError("not an object")
    return content


def _parsed(line: str) -> Json:
    try:
        parsed: Json = json.loads(line)
    except ValueError:
        return None
    return parsed


def _line(entry: Json) -> str:
    """One entry on a line of its own, without a byte that means nothing."""
    return json.dumps(entry, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _from_url(url: str, http: httpx.Client) -> ExportedLog:
    try:
        head = _json(http, f"{url}/v1/log/head")
        size = head["payload"]["size"]
        entries: list[Json] = []
        while len(entries) < size:
            limit = min(_PAGE_ENTRIES, size - len(entries))
            page = _json(http, f"{url}/v1/log/entries?start={len(entries)}&limit={limit}")
            if not page["entries"]:
                raise SourceError(f"{url} ends at entry {len(entries)}, its head says {size}")
            entries += page["entries"]
    except httpx.HTTPError as error:
        raise SourceError(f"cannot read {url}: {error}", hint=_HINT) from error
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{url} serves no log: {error!r}", hint=_HINT) from error
    return ExportedLog(head=head, entries=tuple(entries))


def _json(http: httpx.Client, url: str) -> dict[str, Any]:
    answer = http.get(url)
    answer.raise_for_status()
    if len(answer.content) > _PAGE_MAX_BYTES:
        raise SourceError(f"{url} answers with more than {_PAGE_MAX_BYTES} bytes")
    content = answer.json()
    if not isinstance(content, dict):
        raise TypeError(f"{url} answers with no object")
    return content
