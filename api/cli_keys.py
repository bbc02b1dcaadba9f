"""`carbonbench-api keys`: who may ask more often than anyone."""

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from protocol.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from api.keys import KeyRing

keys = App(name="keys", help="API keys of this node: who may ask more often than anyone.")
_MAX_NAME = 64


@keys.command
def add(
    name: str,
    *,
    per_minute: Annotated[int, Parameter(help="Requests a minute granted to it.")] = 6_000,
    data_dir: Annotated[Path | None, Parameter(help="Where the database lives.")] = None,
) -> None:
    """Make a key and print it, this once."""
    if not 1 <= len(name) <= _MAX_NAME or per_minute < 1:
        raise ConfigurationError(
            f"a name has 1 to {_MAX_NAME} characters, a rate is at least 1 a minute"
        )
    with _key_ring(data_dir) as ring:
        print(ring.add(name, per_minute))


@keys.command(name="list")
def list_keys(
    *, data_dir: Annotated[Path | None, Parameter(help="Where the database lives.")] = None
) -> None:
    """List the keys that were given; the keys themselves are kept nowhere."""
    with _key_ring(data_dir) as ring:
        for key in ring.all_keys():
            state = f"revoked {key.revoked_at:%Y-%m-%d}" if key.revoked_at else "valid"
            print(f"{key.name}  {key.per_minute} a minute  {key.created_at:%Y-%m-%d}  {state}")


@keys.command
def revoke(
    name: str,
    *,
    data_dir: Annotated[Path | None, Parameter(help="Where the database lives.")] = None,
) -> None:
    """Take a key back; a running node refuses it within ten seconds."""
    with _key_ring(data_dir) as ring:
        ring.revoke(name)
    print(f"{name} is revoked")


@contextmanager
def _key_ring(data_dir: Path | None) -> "Iterator[KeyRing]":
    from api.keys import KeyRing
    from api.opening import open_store, read_settings

    ring = KeyRing.beside(open_store(read_settings(data_dir=data_dir)))
    try:
        yield ring
    finally:
        ring.close()
