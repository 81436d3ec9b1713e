"""A check of `recorder doctor`: its result, and how checks run so that none can hang the command.

Checks are grouped in steps. Each step runs in a process of its own, all at the same time. A step that does not answer
in time is killed and counts as failed: a disk or network that hangs must not hide the results of the others.
"""

from __future__ import annotations

import enum
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from recorder.observe.logs import failure

MAX_ANSWER = 4 << 20
"""Bytes of a step's answer; a node with a thousand SBCs has less."""


class State(enum.StrEnum):
    """Result of a check."""

    OK = "ok"
    WARN = "warn"
    """The recorder works, but something should be changed."""
    FAIL = "fail"
    UNCHECKED = "unchecked"
    """It cannot be seen from this machine, or the check was not requested."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of `recorder doctor`."""

    name: str
    """Dotted words that stay the same from run to run."""
    state: State
    detail: str
    """What was found."""
    remedy: str = ""
    """What to type; "" if there is nothing to do."""

    def as_dict(self) -> dict[str, str]:
        """Return it for --json."""
        return {"name": self.name, "state": self.state.value, "detail": self.detail, "remedy": self.remedy}


def ok(name: str, detail: str) -> Check:
    """Return a check that found no fault."""
    return Check(name, State.OK, detail)


def warn(name: str, detail: str, remedy: str) -> Check:
    """Return a check that warns."""
    return Check(name, State.WARN, detail, remedy)


def fail(name: str, detail: str, remedy: str) -> Check:
    """Return a check that failed."""
    return Check(name, State.FAIL, detail, remedy)


def unchecked(name: str, detail: str, remedy: str) -> Check:
    """Return a check that was not made."""
    return Check(name, State.UNCHECKED, detail, remedy)


@dataclass(frozen=True, slots=True)
class Step:
    """Checks that are made together, in one process."""

    name: str
    """Name of the check that reports that the step failed or took too long."""
    make: Callable[[], Iterable[Check]]
    """Makes the checks."""
    seconds: float
    """Time limit."""
    stuck: str
    """What to type if the step takes longer."""


def run_apart(steps: Sequence[Step]) -> list[Check]:
    """Run all steps at once, each in a process of its own; return their checks in the order of the steps.

    The caller must have no other thread.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    began = time.monotonic()
    running = [(*_start(step), step) for step in steps]
    answers = {fd: bytearray() for fd, _, _ in running}
    open_ = {fd: (pid, began + step.seconds) for fd, pid, step in running}
    try:
        while open_:
            wait = max(0.0, min(end for _, end in open_.values()) - time.monotonic())
            for fd in select.select(list(open_), [], [], wait)[0]:
                data = os.read(fd, 65_536)
                answers[fd] += data
                if not data or len(answers[fd]) > MAX_ANSWER:
                    _end(open_.pop(fd)[0])
            now = time.monotonic()
            for fd in [fd for fd, (_, end) in open_.items() if end <= now]:
                _end(open_.pop(fd)[0])
                answers[fd].clear()
    finally:
        for pid, _ in open_.values():
            _end(pid)
        for fd in answers:
            os.close(fd)
    return [check for fd, _, step in running for check in _read(bytes(answers[fd]), step)]


def _start(step: Step) -> tuple[int, int]:
    """Start the process of a step; return the descriptor with its answer, and its process id."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid:
        os.close(writer)
        return reader, pid
    status = 1
    try:
        os.setsid()  # so that everything the step starts is killed with it
        answer = json.dumps([check.as_dict() for check in _checks(step)]).encode()
        with os.fdopen(writer, "wb") as out:
            out.write(answer)
        status = 0
    finally:
        os._exit(status)


def _checks(step: Step) -> list[Check]:
    try:
        return list(step.make())
    except Exception as problem:  # a bug in one check must not hide the others
        described = failure(problem)
        where = described["raised_at"][-1] if described["raised_at"] else "unknown"
        return [fail(step.name, f"the check itself failed: {described['error']} at {where}", "Please report it.")]


def _end(pid: int) -> None:
    """Kill a process and everything that it has started; do not wait for a process that hangs in the kernel."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    until = time.monotonic() + 0.5
    with suppress(ChildProcessError):
        while os.waitpid(pid, os.WNOHANG) == (0, 0) and time.monotonic() < until:
            time.sleep(0.005)


def _read(answer: bytes, step: Step) -> list[Check]:
    try:
        return [
            Check(each["name"], State(each["state"]), each["detail"], each["remedy"]) for each in json.loads(answer)
        ]
    except ValueError:
        return [fail(step.name, f"no answer within {step.seconds:g} s", step.stuck)]
