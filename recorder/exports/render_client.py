"""The daemon's side of rendering: start a worker for each file, few at a time, and hear how it goes."""

from __future__ import annotations

import asyncio
import json
import os
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeGuard

from media.export.encoder import Container
from recorder.errors import RecorderError
from recorder.exports.render_job import DAMAGED, PEAKS, Job, JobPart, JobStream, to_json
from recorder.runtime import python_command

AT_ONCE = 2  # workers; they are niced, but memory is not
TIME_OUT = 900.0  # s for one file, waiting for a turn not counted
LONGEST_LINE = 1 << 22  # bytes of a report: thousands of gaps for each stream
MOST_SAID = 2 * LONGEST_LINE  # bytes: a report, and what libraries print
MOST_LINES = 5_000  # progress in steps of 1 %, and what libraries print
LONGEST_SENTENCE = 200  # characters of why there is no file
LONGEST_NAME, MOST_NAMES = 64, 64  # of encodings that nobody here can decode

RenderStream = JobStream


class Secret(Protocol):
    """Opens one part (storage.vault.container.PartSecret)."""

    @property
    def key(self) -> bytes: ...
    @property
    def prefix(self) -> bytes: ...
    @property
    def segment(self) -> int: ...


class OpenPart(Protocol):
    """One media part, open for reading (storage.vault.vault)."""

    @property
    def fd(self) -> int: ...
    @property
    def secret(self) -> Secret: ...
    @property
    def size(self) -> int: ...
    @property
    def finished(self) -> bool: ...


WHERE = "`recorder verify` names what is damaged."
"""What an operator does about a damaged recording."""

LATER = 3
"""Status of what failed for want of time, memory or a worker."""


class RenderFailed(RecorderError):
    """No file was made; the sentence says why. `status` 1: the stored call is why, LATER: it may work then."""

    def __init__(self, message: str, status: int = LATER) -> None:
        super().__init__(message, WHERE if message == DAMAGED else "")
        self.status = status


class Renderer:
    """Starts render workers, at most `at_once` together."""

    def __init__(self, *, at_once: int = AT_ONCE, time_out: float = TIME_OUT) -> None:
        self._turn = asyncio.Semaphore(at_once)
        self._time_out = time_out

    async def render(
        self,
        parts: Sequence[OpenPart],
        streams: Sequence[RenderStream],
        form: Container | str,
        out_fd: int,
        on_progress: Callable[[float], None] | None = None,
    ) -> dict[str, Any]:
        """Write the file to `out_fd` and return the worker's report. Raises RenderFailed.

        Only media parts, in order; only the streams wanted. The descriptors stay the caller's and must stay open.
        A caller that is cancelled ends the worker.
        """
        job = Job(
            parts=[job_part(part) for part in parts],
            streams=streams,
            form=_container(form),
            output=out_fd,
            parent=os.getpid(),
        )
        async with self._turn:
            worker = await start_worker([out_fd, *(part.fd for part in job.parts)])
            try:
                async with asyncio.timeout(self._time_out):
                    return await _follow(worker, job, on_progress)
            except TimeoutError:
                raise RenderFailed(f"rendering took longer than {self._time_out:g} s and was stopped") from None
            finally:
                await end_worker(worker)


async def render(
    parts: Sequence[OpenPart],
    streams: Sequence[RenderStream],
    form: Container | str,
    out_fd: int,
    on_progress: Callable[[float], None] | None = None,
) -> dict[str, Any]:
    """Render one file outside the daemon (commands): as Renderer.render."""
    return await Renderer(at_once=1).render(parts, streams, form, out_fd, on_progress)


def _container(form: Container | str) -> Container | str:
    if form == PEAKS:
        return PEAKS
    try:
        return Container(form)
    except ValueError:
        raise RenderFailed(f"the format is one of {', '.join(Container)}", status=2) from None


def job_part(part: OpenPart) -> JobPart:
    """Return what a worker must know of an open part."""
    secret = part.secret
    return JobPart(part.fd, secret.key, secret.prefix, secret.segment, part.size, live=not part.finished)


async def start_worker(descriptors: Sequence[int]) -> Process:
    """Start a worker that has these descriptors and nothing of our environment."""
    environment = python_command.environment({"LC_ALL": "C.UTF-8", "PATH": os.defpath, "PYTHONNOUSERSITE": "1"})
    command = python_command.command("recorder.exports.render_worker")
    try:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=PIPE,
            stdout=DEVNULL,
            stderr=PIPE,
            pass_fds=descriptors,
            env=environment,
            cwd="/",
            limit=LONGEST_LINE,
        )
    except OSError as error:
        raise RenderFailed(f"no render worker could be started: {error.strerror}") from None


async def _follow(worker: Process, job: Job, on_progress: Callable[[float], None] | None) -> dict[str, Any]:
    """Hand over the job and read what the worker tells until it ends."""
    if worker.stdin is None or worker.stderr is None:
        raise RenderFailed("the render worker has no pipes")
    try:
        worker.stdin.write(to_json(job))
        await worker.stdin.drain()
        worker.stdin.close()
    except (BrokenPipeError, ConnectionResetError):
        pass  # it is gone; its exit status says why
    last: dict[str, Any] = {}
    async for raw in lines(worker.stderr):
        line = told(raw)
        step = line.get("progress")
        if on_progress is not None and isinstance(step, int | float) and 0 <= step <= 1:
            on_progress(float(step))
        if "report" in line or "error" in line:
            last = line
    status = await worker.wait()
    report = last.get("report")
    if status == 0 and _is_report(report):
        return report
    raise failure(last, status)


async def lines(stderr: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Yield what a worker says; one that is broken into may say anything. Raises RenderFailed where it has no end."""
    said = count = 0
    try:
        async for raw in stderr:
            said, count = said + len(raw), count + 1
            if said > MOST_SAID or count > MOST_LINES:
                raise ValueError
            yield raw
    except ValueError:
        raise RenderFailed("the render worker said more than it may") from None


def told(raw: bytes) -> dict[str, Any]:
    """Read one line; what is not ours (a library that prints) is nothing, and goes nowhere."""
    try:
        line = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return line if isinstance(line, dict) else {}


def _is_report(report: object) -> TypeGuard[dict[str, Any]]:
    """Tell whether this can be used as a report: what is read of it must be what it is taken for."""
    if not isinstance(report, dict):
        return False
    streams = report.get("streams", [])
    return isinstance(streams, list) and all(
        isinstance(each, dict)
        and isinstance(names := each.get("unknown"), list)
        and all(isinstance(name, str) for name in names)
        for each in streams
    )


def failure(last: Mapping[str, Any], status: int) -> RenderFailed:
    """Return why a worker that ended made no file, from its last line and its exit status."""
    if isinstance(why := last.get("error"), str):
        return RenderFailed(why[:LONGEST_SENTENCE], status=1 if status == 1 else LATER)
    if status < 0:
        limits = "9, 24: over its limits of memory or time"
        return RenderFailed(f"the render worker was ended by signal {-status} ({limits})")
    return RenderFailed(f"the render worker ended with status {status} and said nothing")


def undecoded(report: Mapping[str, Any]) -> str | None:
    """Say which encodings are silence in a file because nobody here can decode them; None where there are none."""
    told = {str(name)[:LONGEST_NAME] for stream in report.get("streams", ()) for name in stream["unknown"]}
    unknown = sorted(told)[:MOST_NAMES]
    if not unknown:
        return None
    return f"Silence stands for what cannot be decoded here: {', '.join(unknown)}. The recording has it as it came."


async def end_worker(worker: Process) -> None:
    """Make sure that it is gone, also when we are being cancelled."""
    if worker.returncode is None:
        worker.kill()
        await worker.wait()
