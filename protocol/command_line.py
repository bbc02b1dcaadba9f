"""What the command lines of the roles share: exit codes, errors as two lines, the log's form.

Everything but the roles' own commands; nothing heavy is imported, so `--help` stays quick.
"""

import sys
from collections.abc import Collection

from cyclopts import App, CycloptsError

from protocol.errors import Error

EXIT_OUR_ERROR, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130
_EXIT_SIGNALLED = 128
"""Plus the signal's number, as shells have it: 143 for SIGTERM."""


class StoppedBySignal(KeyboardInterrupt):
    """A signal that ends what is going on, as Ctrl-C does.

    Args:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    @property
    def status(self) -> int:
        """The exit status that a shell gives for it."""
        return _EXIT_SIGNALLED + self.number


def execute(
    app: App,
    arguments: list[str],
    *,
    extra: str,
    modules: Collection[str],
    interrupted: str = "",
) -> int:
    """Run one command; its exit status.

    Args:
        app: The commands.
        arguments: The command line without the program's name.
        extra: Name of the extra that brings the role's parts.
        modules: Modules that come with it; another one missing is a defect.
        interrupted: What to say after Ctrl-C, or a signal that stands for it.
    """
    try:
        status = app(arguments, exit_on_error=False, print_error=True, result_action="return_value")
    except CycloptsError:
        return EXIT_USAGE
    except KeyboardInterrupt as stop:
        if interrupted:
            print(interrupted, file=sys.stderr)  # noqa: T201
        return stop.status if isinstance(stop, StoppedBySignal) else EXIT_INTERRUPTED
    except ModuleNotFoundError as error:
        if error.name not in modules:
            raise
        _print_error(f"the module {error.name} is missing", f"pip install 'carbonbench[{extra}]'")
        return EXIT_OUR_ERROR
    except (Error, ExceptionGroup) as fault:
        first = _first_of(fault)
        if first is None:
            raise
        _print_error(str(first), first.hint)
        return EXIT_OUR_ERROR
    return status if isinstance(status, int) else 0


def configure_log(level: str) -> None:
    """Log to stderr: one line of JSON per event, coloured text where it is a terminal."""
    import structlog  # noqa: PLC0415 - keeps `--help` quick

    pretty = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer() if pretty else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _print_error(message: str, hint: str) -> None:
    print(f"error: {message}", file=sys.stderr)  # noqa: T201
    if hint:
        print(f"hint: {hint}", file=sys.stderr)  # noqa: T201


def _first_of(fault: Exception) -> Error | None:
    """Our first error in a fault or a group of them; None if there is none."""
    if isinstance(fault, ExceptionGroup):
        found = (_first_of(part) for part in fault.exceptions)
        return next((error for error in found if error is not None), None)
    return fault if isinstance(fault, Error) else None
