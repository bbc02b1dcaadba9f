"""`python -m api.cli_worker`: one more process that answers, started by `carbonbench-api serve`."""

import contextlib
import os
import shutil
import signal
import sys
import threading
from typing import BinaryIO

import structlog
import uvloop

from api.cli import build_application, build_callers, log_to_stderr
from api.keys import KeyRing
from api.metrics import Metrics, share_counts
from api.opening import open_store
from api.release import Holder
from api.serving import Admission, Alone, answer
from api.store import Store
from api.workers import Duty, Told, hear_for_ever, heard
from protocol.errors import Error

log = structlog.get_logger(__name__)


def main() -> None:
    """Answer until told to stop, or until the process that started this one is gone."""
    log_to_stderr()
    if sys.stdin.isatty():
        sys.exit("error: started by `carbonbench-api serve --workers N` only")
    stream, holder = os.fdopen(0, "rb", closefd=False), Holder()
    duty, told = heard(stream, Duty), heard(stream, Told)
    if duty is None:
        return
    if told is None:
        _tidy_up(duty)
        return
    told.put_into(holder)
    threading.Thread(target=_listen, args=(stream, holder, duty), daemon=True).start()
    try:
        _serve(duty, holder)
    except Error as fault:
        log.error("worker failed", worker=duty.worker, detail=str(fault), hint=fault.hint)
        sys.exit(1)


def _listen(stream: BinaryIO, holder: Holder, duty: Duty) -> None:
    hear_for_ever(stream, holder)
    _tidy_up(duty)
    os.kill(os.getpid(), signal.SIGTERM)


def _tidy_up(duty: Duty) -> None:
    """Leave nothing behind the first process, which is gone and could not."""
    shutil.rmtree(duty.counts, ignore_errors=True)


def _serve(duty: Duty, holder: Holder) -> None:
    share_counts(duty.counts, duty.worker)
    store = open_store(duty.settings)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            uvloop.run(_answer(duty, store, holder))
    finally:
        store.close()


async def _answer(duty: Duty, store: Store, holder: Holder) -> None:
    callers = build_callers(duty.settings)
    metrics = Metrics(holder, duty.counts)
    application = build_application(duty.settings, store, holder, callers, metrics)
    admission = Admission(callers=callers, keys=KeyRing.beside(store))
    await admission.read_keys_once()
    await answer(
        application,
        duty.settings.host,
        duty.port,
        [admission.read_keys_for_ever()],
        lambda _url: log.info("worker answers", worker=duty.worker, pid=os.getpid()),
        Alone(),
    )


if __name__ == "__main__":
    main()
