"""Values of settings, as operators write them."""

from typing import Annotated

from pydantic import BeforeValidator, Field


def split_commas(value: object) -> object:
    """A comma-separated text as a tuple; anything else as it is."""
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())


CommaSeparated = BeforeValidator(split_commas)
"""Makes a setting take `a, b`: `Annotated[tuple[str, ...], NoDecode, CommaSeparated]`."""
Port = Annotated[int, Field(ge=0, le=65_535)]
