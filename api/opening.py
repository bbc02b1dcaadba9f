"""What every command opens first: the settings, then the database."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import ValidationError
from pydantic_settings import SettingsError

from api.settings import Settings
from api.store import Store
from protocol.errors import ConfigurationError


def read_settings(**given: object) -> Settings:
    """The settings, with what was given on the command line in front.

    Args:
        given: Fields of `Settings`; None is as if not given.

    Raises:
        ConfigurationError: If a value is not understood.
    """
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]  # names and types are the fields'
    except ValidationError as fault:
        first = fault.errors(include_url=False)[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        hint = "See api.env.example."
        raise ConfigurationError(f"setting API_{name}: {first['msg']}", hint=hint) from None
    except SettingsError as fault:
        hint = "Lists are JSON, as in API_VALIDATOR_LOGS='[\"http://127.0.0.1:8091\"]'."
        raise ConfigurationError(str(fault), hint=hint) from None


def open_store(settings: Settings) -> Store:
    """The database of these settings, migrated.

    Raises:
        ConfigurationError: If it cannot be opened.
    """
    if settings.database_url is not None:
        return Store.open(settings.database_url)
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        probe = settings.data_dir / ".writable"
        probe.touch()
        probe.unlink(missing_ok=True)  # another worker may have been quicker
    except OSError as fault:
        raise ConfigurationError(
            f"cannot write to {settings.data_dir}: {fault.strerror}",
            hint="Choose another folder with --data-dir or API_DATA_DIR.",
        ) from fault
    return Store.open(f"sqlite:///{settings.data_dir / 'api.sqlite3'}")


@contextmanager
def open_counts(settings: Settings) -> Iterator[Path | None]:
    """The folder where several processes count their requests; None where there is one.

    Raises:
        ConfigurationError: If there is no room for it.
    """
    if settings.workers == 1:
        yield None
        return
    try:
        folder = TemporaryDirectory(prefix="carbonbench-api-", ignore_cleanup_errors=True)
    except OSError as fault:
        raise ConfigurationError(
            f"no folder for what several workers count: {fault.strerror}",
            hint="Set TMPDIR to a folder that can be written, or serve with one worker.",
        ) from fault
    with folder as path:
        yield Path(path)
