"""Nothing personal leaves the process, whatever road it takes; what an operator needs does."""

from __future__ import annotations

import asyncio
import base64
import errno
import io
import json
import os
import pty
import re
import subprocess
import sys
import urllib.parse
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from recorder.observe import logs
from recorder.observe.log_throttle import RateLimit
from recorder.observe.logs import Pipeline, failure, place, watch_loop

ROOT = Path(__file__).parents[3]

NAME = "Zdenka Vyhnánková"
NUMBER = "+420777123987"
URI = "sip:zdenka.v@vyhnankova.example;user=phone"
KEY = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"
TOKEN = "rec_7Hq2vyhnankovaX9"
PLANTED = [NAME, NUMBER, URI, KEY, TOKEN]
FRAGMENTS = ["zdenka", "vyhn", "777123987", KEY[:12], TOKEN[:10]]

ROADS = """
import asyncio, logging, os, sys, threading, traceback, types, warnings
import structlog
from recorder.observe import logs
from recorder.observe.logs import get, install, watch_loop
from recorder.observe import logs
from recorder.observe.log_throttle import RateLimit
logs.RateLimit = lambda: RateLimit(pause=0)  # every line is looked at, not one of each kind
pipeline = install("debug")
log = get("recorder.test")
planted = PLANTED
for value in planted:
    log.info("test.fields", name=value, call=value, customer=value, reason=value, peer=value, hint=f"said '{value}'")
    log.info(value, count=3)
    log.info("test.%s", value)
    bound = log.bind(name=value, call=value, customer=value, count=1).bind(**{value[:4]: value})
    bound.info("test.bound", reason=value)
    structlog.get_logger(value, who=value).error(value, customer=value, stack_info=True)
    with structlog.contextvars.bound_contextvars(who=value):
        log.info("test.context")
    log.info("test." + value)
    log.warning("test.nested", reason=[value, {"x": value}, value.encode()], body=value, **{value[:4]: 1})
    log.info("test.number", count=420777123987, port="420777123987", bytes=value)
    libraries = "uvicorn.access uvicorn.error sqlalchemy.engine.Engine aiosqlite asyncio aiortc.x lib".split()
    for name in (*libraries, value):
        library = logging.getLogger(name)
        for level in (logging.DEBUG, logging.INFO, logging.ERROR, 35):
            library.log(level, "said " + value)
            library.log(level, "said %s %r", value, {"x": value}, extra={"who": value}, stack_info=True)
    logging.error("root %s", value)
    late = logging.getLogger("late")
    late.addHandler(logging.StreamHandler())
    late.warning("late %s", value)
    try:
        try:
            {}[value]
        except KeyError:
            raise ValueError("bad " + value, value)
    except ValueError as error:
        error.add_note(value)
        log.fault("test.fault", error, hint=value and "see the manual")
        logging.getLogger("lib").exception("failed %s", value)
        traceback.print_exc()
        traceback.print_exc(file=sys.stdout)
    try:
        raise ExceptionGroup(value, [KeyError(value), ExceptionGroup(value, [OSError(2, value, value)])])
    except ExceptionGroup as error:
        log.fault("test.group", error)
        log.exception("test.exception")
        bound.error("test.exc_info", exc_info=sys.exc_info())
    class Unlucky(Exception):
        def __str__(self): raise RuntimeError(value)
        __repr__ = __str__
    log.fault("test.unlucky", Unlucky())
    odd = type(value, (), {"__repr__": lambda self: value})
    log.info("test.object", reason=Unlucky(), call=odd())
    logging.getLogger("lib").info(Unlucky())
    logging.getLogger("lib").info("%d and %s", value)
    warnings.warn("careful " + value)
    warnings.warn_explicit(value, UserWarning, value, 1)
    print(value); print(value, file=sys.stderr); sys.stdout.write(value)
    thread = threading.Thread(target=lambda: int(value), name=value)
    thread.start(); thread.join()
    class Dying:
        def __del__(self): raise RuntimeError(value)
    Dying()
    exec(compile("def f(x):\\n raise RuntimeError(x)", value, "exec"))
    try: f(value)
    except RuntimeError as error: log.fault("test.exec", error)

async def loops():
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0
    for value in planted:
        async def breaks(): raise RuntimeError(value)
        task = asyncio.create_task(breaks(), name=value)
        await asyncio.wait([task])
        del task
        loop.call_exception_handler({"message": value, "exception": RuntimeError(value), "protocol": value})
        loop.call_soon(lambda: int(value))
        await asyncio.sleep(0)
async def watched():
    watch_loop(asyncio.get_running_loop(), pipeline.log)
    await loops()
asyncio.run(loops()); asyncio.run(watched())

from sqlalchemy import create_engine, text
engine = create_engine("sqlite://", echo="debug")
for value in planted:
    try:
        with engine.begin() as connection:
            connection.execute(text("create table if not exists t (a text primary key)"))
            connection.execute(text("insert into t values (:a)"), {"a": value})
            connection.execute(text("select a from t")).all()
            connection.execute(text("insert into t values (:a)"), {"a": value})
    except Exception as error:
        log.fault("test.database", error)
engine.dispose()
import aiosqlite
async def database():
    async with aiosqlite.connect(":memory:") as connection:
        for value in planted:
            await (await connection.execute("select ?", (value,))).fetchall()
asyncio.run(database())
pipeline.flush()
log.info("test.end")
raise SystemError(planted)
"""


def spellings(text: str) -> set[bytes]:
    """Return a text in every coding that somebody might meet it in."""
    raw = text.encode()
    shifted = [base64.b64encode(b"x" * shift + raw)[4 if shift else 0 : -4] for shift in range(3)]
    codings = [raw, text.encode("utf-16-le"), raw.hex().encode(), urllib.parse.quote(text).encode(), *shifted]
    codings += [json.dumps(text)[1:-1].encode(), ascii(text)[1:-1].encode()]
    return {coding.lower() for coding in codings if len(coding) >= 4}


def run(program: str, *, terminal: bool = False) -> tuple[int, bytes]:
    """Run a program; return its exit status and all that it printed, which has nothing planted in it."""
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    environment |= {"PYTHONWARNINGS": "always", "TERM": "xterm"}
    if not terminal:
        child = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, capture_output=True, timeout=110, env=environment
        )
        assert child.stderr == b""
        status, printed = child.returncode, child.stdout
    else:
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            [sys.executable, "-c", program], cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, env=environment
        ) as running:
            os.close(theirs)
            printed = b"".join(iter(partial(_read, ours), b""))
            status = running.wait(110)
        os.close(ours)
    found = [text for text in [*PLANTED, *FRAGMENTS] for spelling in spellings(text) if spelling in printed.lower()]
    assert found == []
    return status, printed


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # the other side is closed
        return b""


EVENTS = {
    "test.fields",
    "test.bound",
    "test.context",
    "test.group",
    "test.exception",
    "test.exc_info",
    "test.fault",
    "test.database",
    "test.end",
    "library.log",
    "library.warning",
    "loop.failed",
    "thread.failed",
    "destructor.failed",
    "print.stdout",
    "print.stderr",
    "process.crashed",
}


def test_planted_values_are_found_nowhere_at_debug() -> None:
    status, printed = run(ROADS.replace("PLANTED", repr(PLANTED)))
    lines = [json.loads(line) for line in printed.splitlines()]
    assert {line["event"] for line in lines} >= {"***", *EVENTS}
    assert {line.get("logger") for line in lines} >= {
        "recorder",
        "uvicorn",
        "sqlalchemy",
        "aiosqlite",
        "asyncio",
        "aiortc",
        "other",
    }
    assert status == 1


def test_planted_values_are_found_nowhere_on_a_terminal() -> None:
    status, printed = run(ROADS.replace("PLANTED", repr(PLANTED)), terminal=True)
    plain = re.sub(rb"\x1b\[[0-9;]*m", b"", printed).decode()
    assert status == 1
    assert [event for event in EVENTS if not re.search(rf"\[\w+ *\] {re.escape(event)} ", plain)] == []
    assert re.search(rb"\x1b\[3[0-9]m", printed)  # a level has its colour
    assert "Traceback (most" not in plain


@pytest.mark.parametrize(
    "crash",
    [
        "from recorder.observe import logs; logs.ended(ValueError({0!r}), 1, 'See the manual.')",
        "import recorder.workers.process as process, sys\n"
        "def fails(): raise ValueError({0!r})\n"
        "process.close_others = process._work = lambda *_: fails()\n"
        "process.main()",
        "import recorder.workers.process as process, sys\n"
        "def fails(): raise ValueError({0!r})\n"
        "process._work = fails; process.close_others = lambda kept: None\n"
        "process.main()",
    ],
    ids=["at start", "worker at start", "worker"],
)
@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
def test_a_crash_outside_the_daemon_says_nothing_personal(crash: str, terminal: bool) -> None:
    _, printed = run(crash.format(NAME), terminal=terminal)
    assert b"ValueError" in printed and b"Traceback (most" not in printed


Pipe = tuple[Pipeline, io.StringIO]


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Pipe:
    """Return a pipeline and what it writes to; no second passes in which a line may be written again."""
    monkeypatch.setattr(logs, "RateLimit", lambda: RateLimit(pause=600.0))
    stream = io.StringIO()
    return Pipeline(stream, "debug"), stream


def lines_of(stream: io.StringIO) -> list[dict[str, Any]]:
    """Return the lines written, without their time."""
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    for line in lines:
        assert line.pop("time").endswith("Z")
    return lines


def test_a_line_is_one_json_object(pipe: Pipe) -> None:
    pipeline, stream = pipe
    pipeline.log.info("call.started", customer="acme", count=2)
    assert lines_of(stream) == [
        {"level": "info", "event": "call.started", "process": "main", "customer": "acme", "count": 2}
    ]


def test_a_flood_becomes_one_line_and_a_count(pipe: Pipe) -> None:
    pipeline, stream = pipe
    held: list[int] = []
    pipeline.on_held = lambda: held.append(1)
    for _ in range(1000):
        pipeline.log.warning("sip.dropped", peer="192.0.2.1")
        pipeline.log.warning("sip.dropped", peer="192.0.2.2")
    pipeline.flush()
    lines = lines_of(stream)
    assert len(lines) == 4
    written = sum(line["event"] == "sip.dropped" for line in lines)
    assert written + sum(line.get("suppressed", 0) for line in lines) == written + len(held) == 2000


def test_lines_that_say_different_things_are_all_written(pipe: Pipe) -> None:
    pipeline, stream = pipe
    for task in ("indexer", "indexer", "housekeeping"):
        pipeline.log.error("task.failed", task=task)
    for _ in range(3):
        pipeline.log.info("recorder.ready")
    written = [line.get("task", line["event"]) for line in lines_of(stream)]
    assert written == ["indexer", "housekeeping", *["recorder.ready"] * 3]


def test_a_reader_that_has_gone_stops_nothing() -> None:
    stream = io.StringIO()
    pipeline = Pipeline(stream)
    stream.close()
    pipeline.log.info("test.line")


def test_an_exception_is_its_class_and_its_places() -> None:
    with pytest.raises(KeyError) as caught:
        try:
            Path("/nonexistent/alice").read_bytes()
        except OSError as error:
            raise KeyError("alice") from error
    described = failure(caught.value)
    assert (described["error"], described["cause"]) == ("KeyError", ["FileNotFoundError"])
    assert described["raised_at"][0].startswith("recorder/observe/test_logs.py:")
    assert "alice" not in str(described)
    assert failure(OSError(errno.ENOSPC, "alice"))["errno"] == "ENOSPC"


def test_a_long_traceback_keeps_its_innermost_frames() -> None:
    def sink(depth: int) -> None:
        if not depth:
            raise ValueError
        sink(depth - 1)

    try:
        sink(40)
    except ValueError as caught:
        places = failure(caught)["raised_at"]
    assert len(places) == 12
    assert all(each.startswith("recorder/observe/test_logs.py:") and each.endswith("sink") for each in places)
    kinds: list[Any] = [ValueError, KeyError, TypeError, OSError, IndexError, LookupError, EOFError]
    chain = [kind() for kind in kinds]
    for outer, inner in pairwise(chain):
        outer.__cause__ = inner
    assert failure(chain[0])["cause"] == ["KeyError", "TypeError", "OSError", "IndexError"]


def test_a_place_shows_two_path_parts_and_the_end_of_a_name() -> None:
    code = compile("0", "/a/b/c.py", "eval").replace(co_qualname="x" + "y" * 80)
    assert place(code, 7) == f"b/c.py:7 {'y' * 80}"
    assert place(code, None) == f"b/c.py:0 {'y' * 80}"
    assert place(None, 7) == "unknown.py:0 unknown"


@pytest.mark.parametrize("least", ["debug", "info", "warning", "error", "critical"])
def test_a_level_includes_the_more_severe_ones(least: str) -> None:
    levels = ["debug", "info", "warning", "error", "critical"]
    stream = io.StringIO()
    pipeline = Pipeline(stream, least)
    for level in levels:
        getattr(pipeline.log, level)(f"test.{level}")
    written = [json.loads(line)["level"] for line in stream.getvalue().splitlines()]
    assert written == levels[levels.index(least) :]


def test_before_install_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    for write in (logs.get().info, logs.get().error):
        write("test.early", hint="alice")
    assert capsys.readouterr() == ("", "")


def test_a_loop_reports_through_the_pipeline(pipe: Pipe) -> None:
    pipeline, stream = pipe

    async def story() -> None:
        loop = asyncio.get_running_loop()
        watch_loop(loop, pipeline.log)
        loop.call_soon(lambda: int("alice"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(story())
    (line,) = lines_of(stream)
    assert (line["event"], line["error"]) == ("loop.failed", "ValueError")


@pytest.mark.parametrize(
    ("script", "printed"),
    [
        (  # the terminal is given back at the end
            "from recorder.observe.logs import install\nwith install(): print('alice')\nprint('a last sentence')",
            r'\{.*"event":"print\.stdout".*\}\na last sentence\n',
        ),
        (  # logging starts fast
            "import sys, recorder.observe.logs, recorder.config.model\n"
            "print(not {'rich', 'pygments', 'pydantic'} & set(sys.modules))",
            "True\n",
        ),
    ],
)
def test_a_process_that_logs(script: str, printed: str) -> None:
    child = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert re.fullmatch(printed, child.stdout.replace(": ", ":")), child.stdout + child.stderr


def test_lines_for_the_journal_begin_with_their_priority(tmp_path, monkeypatch):
    for named, priority in (("", ""), ("8:1", ""), (None, "<4>")):
        with (tmp_path / "journal").open("w+") as stream:
            found = os.fstat(stream.fileno())
            monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}" if named is None else named)
            Pipeline(stream).log.warning("disk.full")
            stream.seek(0)
            line = stream.read()
            assert line.startswith(f"{priority}{{") and json.loads(line.removeprefix(priority))["level"] == "warning"
