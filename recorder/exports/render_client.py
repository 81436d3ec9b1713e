"""The daemon's side of rendering: start a worker for each file, few at a time, and read its progress."""

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

AT_ONCE = 2  # workers; they have a low priority, but their memory counts
TIME_OUT = 900.0  # s for one file, waiting for a turn not counted
LONGEST_LINE = 1 << 22  # bytes of a report: thousands of gaps for each stream
MOST_SAID = 2 * LONGEST_LINE  # bytes: a report, and what libraries print
MOST_LINES = 5_000  # progress in steps of 1 %, and what libraries print
LONGEST_SENTENCE = 200  # characters of the reason why there is no file
LONGEST_NAME, MOST_NAMES = 64, 64  # of encodings that cannot be decoded here

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
"""Status of what failed for lack of time, memory or a worker."""


class RenderFailed(RecorderError):
    """No file was made; the sentence says why. `status` 1: because of the stored call; LATER: a retry may work."""

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

        Only media parts, in order; only the requested streams. The descriptors stay the caller's and must stay open.
        Cancelling the caller ends the worker.
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
    """Render one file outside the daemon (commands), as Renderer.render does."""
    return await Renderer(at_once=1).render(parts, streams, form, out_fd, on_progress)


def _container(form: Container | str) -> Container | str:
    if form == PEAKS:
        return PEAKS
    try:
        return Container(form)
    except ValueError:
        raise RenderFailed(f"the format is one of {', '.join(Container)}", status=2) from None


def job_part(part: OpenPart) -> JobPart:
    """Return what a worker needs to know about an open part."""
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
    """Send the job and read the worker's messages until it ends."""
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
        line = read_message(raw)
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
    """Yield a worker's messages; a compromised one may send anything. Raises RenderFailed if they do not end."""
    said = count = 0
    try:
        async for raw in stderr:
            said, count = said + len(raw), count + 1
            if said > MOST_SAID or count > MOST_LINES:
                raise ValueError
            yield raw
    except ValueError:
        raise RenderFailed("the render worker sent more output than allowed") from None


def read_message(raw: bytes) -> dict[str, Any]:
    """Read one line; drop lines that are not ours, such as those that a library prints."""
    try:
        line = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return line if isinstance(line, dict) else {}


def _is_report(report: object) -> TypeGuard[dict[str, Any]]:
    """Return whether this is a valid report: every field that is read must have the expected type."""
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
    """Return why a worker ended without a file, from its last line and its exit status."""
    if isinstance(why := last.get("error"), str):
        return RenderFailed(why[:LONGEST_SENTENCE], status=1 if status == 1 else LATER)
    if status < 0:
        limits = "9, 24: over its limits of memory or time"
        return RenderFailed(f"the render worker was ended by signal {-status} ({limits})")
    return RenderFailed(f"the render worker ended with status {status} and no message")


def undecoded(report: Mapping[str, Any]) -> str | None:
    """Name the encodings that are silent in a file because they cannot be decoded here; None if there are none."""
    names = {str(name)[:LONGEST_NAME] for stream in report.get("streams", ()) for name in stream["unknown"]}
    unknown = sorted(names)[:MOST_NAMES]
    if not unknown:
        return None
    return f"Silent because it cannot be decoded here: {', '.join(unknown)}. The recording keeps it as received."


async def end_worker(worker: Process) -> None:
    """Make sure that a worker is gone, even while we are being cancelled."""
    if worker.returncode is None:
        worker.kill()
        await worker.wait()
