"""Page cursors: a position within one release, so that a refresh cannot shift pages."""

import base64
import binascii

from api.problems import ProblemError


def page_cursor(position: int, release: str) -> str:
    """Opaque name of the rows from a position on."""
    return base64.urlsafe_b64encode(f"{position}:{release}".encode()).decode().rstrip("=")


def page_start(cursor: str | None, release: str) -> int:
    """The position that a cursor names; 0 without one.

    Raises:
        ProblemError: 422 for a string that is no cursor, 410 for one of another release.
    """
    if cursor is None:
        return 0
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        position, _, named = text.partition(":")
        start = int(position)
    except (binascii.Error, ValueError) as fault:
        detail = "this is not a cursor of ours"
        raise ProblemError(422, "invalid_parameters", detail, hint="Start anew.") from fault
    if named != release or start < 0:
        detail = "the cursor belongs to a release that no longer answers"
        raise ProblemError(410, "stale_cursor", detail, hint="Start again without a cursor.")
    return start
