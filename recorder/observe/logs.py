"""Logging of every process of the daemon: JSON lines on standard output, masked in the last step.

Everything goes through one pipeline: our own lines, those of libraries, warnings, tracebacks, failures of tasks,
threads and destructors, and everything that is printed. Of a library's line only place and level are kept, never its
text; of an exception only its class and where it was raised.
"""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import sys
import threading
import time
import types
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any, ClassVar

from storage.timestamps import to_text

if TYPE_CHECKING:
    import asyncio

from recorder.observe.log_throttle import RateLimit
from recorder.observe.redaction import mask

MAX_FRAMES = 12  # frames of one traceback, innermost last; deeper ones are repetitions
MAX_CAUSES = 4  # exceptions behind an exception
LIBRARIES = frozenset(
    "recorder sip media storage admin_api asyncio uvicorn starlette sqlalchemy aiosqlite alembic "
    "asyncpg concurrent multiprocessing aiortc libav httpx2 py".split()
)  # first parts of logger names that are written; others become "other", because a name may contain a caller's
PRIORITIES = {"critical": 2, "error": 3, "warning": 4, "info": 6, "debug": 7}  # of syslog (sd-daemon(3))
_LEVELS = {"critical": 50, "error": 40, "warning": 30, "info": 20, "debug": 10}

PACKAGES = frozenset(("recorder", "sip", "media", "storage", "admin_api", "personal"))
DEPTH = 4
"""Most parts that the path of one of our files has, including its package: admin_api/page/views/home.py."""


def place(code: types.CodeType | None, line: int | None) -> str:
    """Return where something happened: the file's path from its package on, the line, the function."""
    if code is None:
        return "unknown.py:0 unknown"
    return _place(code.co_filename, line or 0, code.co_qualname)


def _place(file: str, line: int, function: str) -> str:
    """Name one of our files by its path from the package on, any other with its folder."""
    parts = file.split("/")
    nearest = range(max(len(parts) - DEPTH, 0), len(parts) - 1)
    begin = next((at for at in reversed(nearest) if parts[at] in PACKAGES), -2)
    return f"{'/'.join(parts[begin:])}:{line} {function[-80:]}"


def failure(error: BaseException) -> dict[str, Any]:
    """Describe an exception without its text: class, error number of the system, places, classes of its causes."""
    described: dict[str, Any] = {"error": type(error).__qualname__, "raised_at": _frames(error)}
    if isinstance(error, OSError) and error.errno is not None:
        described["errno"] = errno.errorcode.get(error.errno, "unknown")
    causes: list[str] = []
    behind = error.__cause__ or error.__context__
    while behind is not None and len(causes) < MAX_CAUSES:
        causes.append(type(behind).__qualname__)
        behind = behind.__cause__ or behind.__context__
    if causes:
        described["cause"] = causes
    return described


def _frames(error: BaseException) -> list[str]:
    """Return the places that an exception passed through, innermost last."""
    places = []
    trace = error.__traceback__
    while trace is not None:
        places.append(place(trace.tb_frame.f_code, trace.tb_lineno))
        trace = trace.tb_next
    return places[-MAX_FRAMES:]


def is_journal(stream: IO[str], named: str) -> bool:
    """Return whether a stream is the journal's; `named`: $JOURNAL_STREAM, its device and inode (systemd.exec(5))."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return named == f"{found.st_dev}:{found.st_ino}"


class Pipeline:
    """Turns an event with fields into a line of JSON on a stream: rate limit, mask, write."""

    def __init__(self, stream: IO[str], level: str = "info", *, fixed: Mapping[str, Any] | None = None) -> None:
        self._stream = stream
        self._least = _LEVELS.get(level, 20)
        self._fixed = dict(fixed or {})
        self._journal = is_journal(stream, os.environ.get("JOURNAL_STREAM", ""))
        self._rate = RateLimit()
        self._lock = threading.RLock()
        self._swept = 0.0
        self.taken: tuple[Any, Any] | None = None  # standard output and error, while `install` has replaced them
        self.on_held: Callable[[], None] = lambda: None  # called for every line that is held back, for the metrics

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()

    def release(self) -> None:
        """Write outstanding counts and restore standard output and error, for a last sentence on the terminal."""
        self.flush()
        if self.taken is not None:
            sys.stdout, sys.stderr = self.taken
            self.taken = None

    def write(self, level: str, event: str, fields: Mapping[str, Any]) -> None:
        """Write one line, unless its level is too low or its key had a line within the last second. Never raises."""
        try:
            if _LEVELS.get(level, 20) < self._least:
                return
            now = time.monotonic()
            key = (event, *[value if isinstance(value, _PLAIN) else None for value in map(fields.get, _KEY)])
            with self._lock:
                self._sweep(now)
                held = self._rate.admit(key, now)
                if held is None and event not in _ALWAYS:
                    self.on_held()
                    return
                self._emit(level, event, {**fields, "suppressed": held} if held else fields)
        except Exception:  # a log line must never end a call, and there is nowhere to report this
            return

    def flush(self) -> None:
        """Write the counts of lines that the rate limit held back."""
        with self._lock:
            self._sweep(float("inf"))

    def _sweep(self, now: float) -> None:
        """Report, at most once a second, lines that were held back and that no later line has counted."""
        if now - self._swept < 1:
            return
        self._swept = now if now != float("inf") else self._swept
        for key, count in self._rate.due(now):
            event = key[0] if isinstance(key, tuple) else "log.unknown"
            self._emit("info", "log.suppressed", {"kind": event, "suppressed": count})

    def _emit(self, level: str, event: str, fields: Mapping[str, Any]) -> None:
        line = {"time": to_text(datetime.now(UTC)), **mask({"level": level, "event": event, **self._fixed, **fields})}
        try:
            priority = f"<{PRIORITIES.get(level, 6)}>" if self._journal else ""
            self._stream.write(f"{priority}{json.dumps(line, ensure_ascii=True)}\n")
            self._stream.flush()
        except (OSError, ValueError):
            return  # nobody reads any more: the recording matters more than the line


_ALWAYS = frozenset(
    "api.ready recorder.ready recorder.stopping recorder.stopped recorder.starting config.fault trace.started "
    "trace.ended".split()
)


_KEY = ("source", "peer", "call", "customer", "reason", "task", "error", "logger", "at")
"""Fields that tell lines apart, if they are text or a number; all other values count as one."""

_PLAIN = (str, int)  # as a tuple: a union would be made anew for each field of each line


def _exception_of(info: Any) -> BaseException | None:
    """Return the exception that `exc_info` stands for, in any of its forms."""
    if isinstance(info, BaseException):
        return info
    if isinstance(info, tuple) and len(info) == 3:
        return info[1] if isinstance(info[1], BaseException) else None
    return sys.exc_info()[1] if info else None


class _Foreign(logging.Handler):
    """Handle what libraries log: keep level, logger's family and place, never the text."""

    def __init__(self, pipeline: Pipeline) -> None:
        super().__init__()
        self._pipeline = pipeline

    def emit(self, record: logging.LogRecord) -> None:
        """Write a library's line without its text."""
        family = str(record.name).partition(".")[0]
        fields: dict[str, Any] = {
            "logger": family if family in LIBRARIES else "other",
            "at": _place(record.pathname, record.lineno, record.funcName or "unknown"),
        }
        error = _exception_of(record.exc_info)
        level = record.levelname.lower()
        self._pipeline.write(
            level if level in _LEVELS else "info", "library.log", {**fields, **(failure(error) if error else {})}
        )


class _Muted(io.TextIOBase):
    """Replaces standard output and error: logs that something was printed, and where, but not what."""

    encoding = "utf-8"

    def __init__(self, pipeline: Pipeline, event: str) -> None:
        self._pipeline = pipeline
        self._event = event

    def writable(self) -> bool:
        """Answer that writing is possible."""
        return True

    def write(self, text: str) -> int:
        """Log the place of the code that prints."""
        frame = sys._getframe(1)
        if text.strip():
            self._pipeline.write("warning", self._event, {"at": place(frame.f_code, frame.f_lineno)})
        return len(text)


def install(level: str = "info", *, stream: IO[str] | None = None, process: str = "main") -> Pipeline:
    """Send all output of this process through the mask; call it first, before anything can fail.

    `level` is a word of settings.Level, `process` names the kind of process in every line. Standard output and error
    are replaced: what is printed to them is logged as a place, not shown. Use it as a context manager: on leaving they
    are restored, so that a command can say on the terminal why it ended.
    """
    pipeline = Pipeline(stream or sys.stdout, level, fixed={"process": process})
    pipeline.taken = (sys.stdout, sys.stderr)
    Log.pipeline = pipeline
    _take_libraries(pipeline, level)
    _take_hooks(pipeline)
    sys.stdout = _Muted(pipeline, "print.stdout")
    sys.stderr = _Muted(pipeline, "print.stderr")
    return pipeline


class Log:
    """A logger of our own: `log.info("call.started", call=…, customer=…)`; events are dotted lower-case words."""

    pipeline: ClassVar[Pipeline | None] = None
    """Where the lines of all loggers go; until `install` they go nowhere, because nothing would mask them."""

    def __init__(self, name: str = "recorder") -> None:
        """Take the module's `__name__`; its first part is in every line."""
        self._name = name.partition(".")[0]

    def debug(self, event: str, **fields: Any) -> None:
        """Write what helps to find a fault."""
        self._write("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        """Write what an operator may want to know."""
        self._write("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Write what an operator should know."""
        self._write("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """Write what an operator must know."""
        self._write("error", event, fields)

    def fault(self, event: str, problem: BaseException, **fields: Any) -> None:
        """Write an error with the exception behind it: its class and place, never its text."""
        self._write("error", event, fields, problem)

    def _write(self, level: str, event: str, fields: dict[str, Any], problem: BaseException | None = None) -> None:
        if self.pipeline is not None:
            fields.setdefault("logger", self._name)
            self.pipeline.write(level, event, {**fields, **failure(problem)} if problem else fields)


def get(name: str = "recorder") -> Log:
    """Return a logger of our own."""
    return Log(name)


def _take_libraries(pipeline: Pipeline, level: str) -> None:
    """Make the root logger ours, and remove the handlers that libraries added."""
    logging.raiseExceptions = False  # or a handler that fails prints the record with its arguments
    logging.lastResort = None
    root = logging.getLogger()
    root.handlers = [_Foreign(pipeline)]
    root.setLevel(_LEVELS.get(level, 20))
    for name in list(logging.root.manager.loggerDict):
        known = logging.getLogger(name)
        known.handlers, known.propagate = [], True
    access = logging.getLogger("uvicorn.access")  # its lines hold only paths and queries
    access.disabled = True
    logging.captureWarnings(False)


def _take_hooks(pipeline: Pipeline) -> None:
    """Replace every hook through which Python itself prints a traceback or a warning."""

    def crashed(kind: type[BaseException], error: BaseException, trace: types.TracebackType | None) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            pipeline.write("critical", "process.crashed", failure(error))

    def thread_failed(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
            pipeline.write("error", "thread.failed", failure(args.exc_value))

    def unraisable(args: Any) -> None:
        pipeline.write("error", "destructor.failed", failure(args.exc_value) if args.exc_value else {})

    def warned(
        message: Any, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
    ) -> None:
        at = _place(filename, lineno, "unknown")
        pipeline.write("warning", "library.warning", {"warning": category.__name__, "at": at})

    sys.excepthook = crashed
    threading.excepthook = thread_failed
    sys.unraisablehook = unraisable
    warnings.showwarning = warned


def ended(problem: BaseException, status: int, said: str, faults: Sequence[Any] = ()) -> None:
    """Write why the daemon ends, also if that is before `install`: the log is JSON from its first line on.

    `said`: the sentence for people. `faults`: those of a configuration, each of which gets a line of its own.
    """
    pipeline = Pipeline(sys.stdout, fixed={"process": "main"})
    for each in faults:
        pipeline.write("critical", "config.fault", {"setting": each.key, "line": each.line, "right": each.right})
    hint = "See the lines before this one." if faults else said
    pipeline.write("critical", "recorder.failed", {**failure(problem), "exit_status": status, "hint": hint})


def one_file(first: IO[str], second: IO[str]) -> bool:
    """Tell whether two streams end in the same file or the journal, where only lines of JSON may appear.

    A terminal does not count: people read it.
    """
    try:
        one, other = os.fstat(first.fileno()), os.fstat(second.fileno())
        return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino) and not second.isatty()
    except (OSError, ValueError):
        return False


def watch_loop(loop: asyncio.AbstractEventLoop, pipeline: Pipeline) -> None:
    """Send errors of a loop's callbacks and of tasks nobody awaited through the mask."""

    def failed(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        pipeline.write("error", "loop.failed", failure(error) if isinstance(error, BaseException) else {})

    loop.set_exception_handler(failed)
