"""The daemon's log: lines of JSON on standard output, or columns at a terminal, masked before they are rendered.

Everything goes through one chain of structlog's processors: our own lines, those of libraries, warnings, tracebacks,
failures of tasks, threads and destructors, and everything that is printed. Of a library's line only place and level are
kept, never its text; of an exception only its class and where it was raised. structlog is imported when the log is
installed, because commands that write no log should start fast.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
import threading
import time
import types
import warnings
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from typing import IO, TYPE_CHECKING, Any, NoReturn, Protocol, TextIO

from storage.timestamps import to_text

if TYPE_CHECKING:
    import asyncio

from recorder.observe.log_throttle import RateLimit
from recorder.observe.redaction import mask

MAX_FRAMES = 12  # frames of one traceback, innermost last; deeper ones are repetitions
MAX_CAUSES = 4  # exceptions behind an exception
LIBRARIES = frozenset(
    "recorder sip media storage admin_api asyncio uvicorn starlette sqlalchemy aiosqlite alembic "
    "asyncpg concurrent multiprocessing aiortc aioice libav httpx2 py".split()
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


_ALWAYS = frozenset(
    "api.ready recorder.ready recorder.stopping recorder.stopped recorder.starting config.fault trace.started "
    "trace.ended".split()
)


_KEY = ("source", "peer", "call", "customer", "reason", "task", "error", "logger", "at")
"""Fields that tell lines apart, if they are text or a number; all other values count as one."""

_PLAIN = (str, int)  # as a tuple: a union would be made anew for each field of each line


class Log(Protocol):
    """A logger of our own: `log.info("call.started", call=…, customer=…)`; events are dotted lower-case words."""

    def bind(self, **context: Any) -> Log:
        """Return a logger that has these fields in every line."""

    def debug(self, event: str, **fields: Any) -> None:
        """Write what helps to find a fault."""

    def info(self, event: str, **fields: Any) -> None:
        """Write what an operator may want to know."""

    def warning(self, event: str, **fields: Any) -> None:
        """Write what an operator should know."""

    def error(self, event: str, **fields: Any) -> None:
        """Write what an operator must know."""

    def critical(self, event: str, **fields: Any) -> None:
        """Write why this process ends."""

    def fault(self, event: str, problem: BaseException, **fields: Any) -> None:
        """Write an error with the exception behind it: its class and place, never its text."""


class Pipeline:
    """The chain of processors from an event with its fields to a line on a stream.

    The level is checked before the chain. Then: an exception becomes its class and places, the rate limit drops the
    line or adds what it dropped before, everything that the allow-list does not know is masked, and the line is written
    as JSON, or in columns and colours if a person reads it at a terminal.
    """

    def __init__(self, stream: TextIO, level: str = "info", *, process: str = "main") -> None:
        import structlog

        self._process = process
        self._drop = structlog.DropEvent
        self._rate = RateLimit()
        self._lock = threading.RLock()
        self._swept = 0.0
        self.taken: tuple[Any, Any] | None = None  # standard output and error, while `install` has replaced them
        self.on_held: Callable[[], None] = lambda: None  # called for every line that is held back, for the metrics
        self.wrapper = _wrapper(_LEVELS.get(level, 20))
        writer = structlog.WriteLogger(stream)
        written = (self._masked, _columns() if stream.isatty() else _json(stream))
        self.processors = (_described, self._limited, *written)
        self.log = self._logger(writer, self.processors)
        self._counts = self._logger(writer, written)
        self.writer = writer

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()

    def _logger(self, writer: Any, processors: Sequence[Any]) -> Log:
        """Return a logger of this chain, independent of structlog's global configuration."""
        import structlog

        logger: Log = structlog.wrap_logger(writer, processors, self.wrapper, dict).bind()
        return logger

    def release(self) -> None:
        """Write outstanding counts and restore standard output and error, for a last sentence on the terminal."""
        self.flush()
        if self.taken is not None:
            sys.stdout, sys.stderr = self.taken
            self.taken = None

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
            self._counts.info("log.suppressed", kind=event, suppressed=count)

    def _limited(self, _: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Drop a line whose key had one within the last second; add to others how many were dropped before."""
        now = time.monotonic()
        event = line["event"]
        key = (event, *[value if isinstance(value, _PLAIN) else None for value in map(line.get, _KEY)])
        with self._lock:
            self._sweep(now)
            held = self._rate.admit(key, now)
        if held is None and event not in _ALWAYS:
            self.on_held()
            raise self._drop
        if held:
            line["suppressed"] = held
        return line

    def _masked(self, _: Any, level: str, line: MutableMapping[str, Any]) -> dict[str, Any]:
        """Keep what the allow-list allows, in the order in which people read it."""
        event = line.pop("event")
        first = {"level": level, "event": event, "process": self._process}
        return {"time": to_text(datetime.now(UTC)), **mask({**first, **line})}


@cache
def _wrapper(least: int) -> type[Any]:
    """Return the class of loggers that write lines of a level (10 to 50) or more severe ones; others cost a call."""
    import structlog

    class Bound(structlog.make_filtering_bound_logger(least)):  # type: ignore[misc]
        def fault(self, event: str, problem: BaseException, **fields: Any) -> None:
            self.error(event, exc_info=problem, **fields)

        def _proxy_to_logger(self, method_name: str, event: str | None = None, **fields: Any) -> None:
            with suppress(Exception):  # a log line must never end a call, and there is nowhere to report this
                super()._proxy_to_logger(method_name, event, **fields)

    return Bound


def _described(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Name the logger; replace an exception, in any form in which `logging` takes one, by its class and places."""
    if family := line.pop("family", None):
        line.setdefault("logger", family)
    error = _exception_of(line.pop("exc_info", None))
    if error is not None:
        line.update(failure(error))
    return line


def _json(stream: IO[str]) -> Callable[[Any, str, Mapping[str, Any]], str]:
    """Return the last processor for machines: a line of JSON, for the journal with its priority (sd-daemon(3))."""
    import msgspec

    journal = is_journal(stream, os.environ.get("JOURNAL_STREAM", ""))
    before = {level: f"<{priority}>" if journal else "" for level, priority in PRIORITIES.items()}
    encode, spaced = msgspec.json.Encoder().encode, msgspec.json.format

    def render(_: Any, level: str, line: Mapping[str, Any]) -> str:
        return before[level] + spaced(encode(line), indent=0).decode()

    return render


def _columns() -> Any:
    """Return the last processor for a person at a terminal."""
    from structlog.dev import ConsoleRenderer

    plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"  # no-color.org
    return ConsoleRenderer(colors=not plain, sort_keys=False, timestamp_key="time", pad_event_to=24)


def _exception_of(info: Any) -> BaseException | None:
    """Return the exception that `exc_info` stands for, in any of its forms."""
    if isinstance(info, BaseException):
        return info
    if isinstance(info, tuple) and len(info) == 3:
        return info[1] if isinstance(info[1], BaseException) else None
    return sys.exc_info()[1] if info else None


class _Foreign(logging.Handler):
    """Handle what libraries log: keep level, logger's family and place, never the text."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write a library's line without its text."""
        family = str(record.name).partition(".")[0]
        level = record.levelname.lower()
        write = getattr(self._log, level if level in _LEVELS else "info")
        at = _place(record.pathname, record.lineno, record.funcName or "unknown")
        write("library.log", logger=family if family in LIBRARIES else "other", at=at, exc_info=record.exc_info)


class _Muted(io.TextIOBase):
    """Replaces standard output and error: logs that something was printed, and where, but not what."""

    encoding = "utf-8"

    def __init__(self, log: Log, event: str) -> None:
        self._log = log
        self._event = event

    def writable(self) -> bool:
        """Answer that writing is possible."""
        return True

    def write(self, text: str) -> int:
        """Log the place of the code that prints."""
        frame = sys._getframe(1)
        if text.strip():
            self._log.warning(self._event, at=place(frame.f_code, frame.f_lineno))
        return len(text)


def install(level: str = "info", *, stream: TextIO | None = None, process: str = "main") -> Pipeline:
    """Send all output of this process through the mask; call it first, before anything can fail.

    `level` is a word of settings.Level, `process` names the kind of process in every line. Standard output and error
    are replaced: what is printed to them is logged as a place, not shown. Use it as a context manager: on leaving they
    are restored, so that a command can say on the terminal why it ended.
    """
    pipeline = Pipeline(stream or sys.stdout, level, process=process)
    pipeline.taken = (sys.stdout, sys.stderr)
    _configure(pipeline.processors, pipeline.wrapper, pipeline.writer, final=True)
    _take_libraries(pipeline.log, level)
    _take_hooks(pipeline.log)
    sys.stdout = _Muted(pipeline.log, "print.stdout")
    sys.stderr = _Muted(pipeline.log, "print.stderr")
    return pipeline


def get(name: str = "recorder") -> Log:
    """Return a logger of our own; take the module's `__name__`, its first part is in every line.

    Until `install` its lines go nowhere, because nothing would mask them.
    """
    import structlog

    if not structlog.is_configured():
        _configure((_dropped,), _wrapper(_LEVELS["critical"]), None, final=False)
    logger: Log = structlog.get_logger(family=name.partition(".")[0])
    installed = structlog.get_config()["cache_logger_on_first_use"]
    return logger.bind() if installed else logger


def _configure(processors: Sequence[Any], wrapper: type[Any], writer: Any, *, final: bool) -> None:
    """Set what loggers from `get` do from now on; `final`: they need not ask again at each line."""
    import structlog

    structlog.configure(processors, wrapper, dict, lambda *_: writer, cache_logger_on_first_use=final)


def _dropped(*_: Any) -> NoReturn:
    """Drop every line."""
    from structlog import DropEvent

    raise DropEvent


def _take_libraries(log: Log, level: str) -> None:
    """Make the root logger ours, and remove the handlers that libraries added."""
    logging.raiseExceptions = False  # or a handler that fails prints the record with its arguments
    logging.lastResort = None
    root = logging.getLogger()
    root.handlers = [_Foreign(log)]
    root.setLevel(_LEVELS.get(level, 20))
    for name in list(logging.root.manager.loggerDict):
        known = logging.getLogger(name)
        known.handlers, known.propagate = [], True
    access = logging.getLogger("uvicorn.access")  # its lines hold only paths and queries
    access.disabled = True
    logging.captureWarnings(False)


def _take_hooks(log: Log) -> None:
    """Replace every hook through which Python itself prints a traceback or a warning."""

    def crashed(kind: type[BaseException], error: BaseException, trace: types.TracebackType | None) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            log.critical("process.crashed", exc_info=error)

    def thread_failed(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
            log.fault("thread.failed", args.exc_value)

    def unraisable(args: Any) -> None:
        log.error("destructor.failed", exc_info=args.exc_value)

    def warned(
        message: Any, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
    ) -> None:
        at = _place(filename, lineno, "unknown")
        log.warning("library.warning", warning=category.__name__, at=at)

    sys.excepthook = crashed
    threading.excepthook = thread_failed
    sys.unraisablehook = unraisable
    warnings.showwarning = warned


def ended(problem: BaseException, status: int, said: str, faults: Sequence[Any] = ()) -> None:
    """Log why the daemon ends, even before `install`: the log is JSON from its first line on.

    `said`: the sentence for people. `faults`: those of a configuration, each of which gets its own line.
    """
    log = Pipeline(sys.stdout).log
    for each in faults:
        log.critical("config.fault", setting=each.key, line=each.line, right=each.right)
    hint = "See the lines before this one." if faults else said
    log.critical("recorder.failed", exc_info=problem, exit_status=status, hint=hint)


def one_file(first: IO[str], second: IO[str]) -> bool:
    """Return whether two streams end in the same file or the journal, where only lines of JSON may appear.

    A terminal does not count: people read it.
    """
    try:
        one, other = os.fstat(first.fileno()), os.fstat(second.fileno())
        return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino) and not second.isatty()
    except (OSError, ValueError):
        return False


def watch_loop(loop: asyncio.AbstractEventLoop, log: Log) -> None:
    """Log errors of a loop's callbacks, and of tasks that nobody awaited, masked."""

    def failed(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        log.error("loop.failed", exc_info=context.get("exception"))

    loop.set_exception_handler(failed)
