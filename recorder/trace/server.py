"""The daemon's side of `recorder trace`: send masked SIP messages to the clients that are connected.

Without a client the endpoint is not watched, so messages cost nothing extra. A client that disconnects ends its trace.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import socket
import time
from collections.abc import Callable, Collection, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recorder.observe.logs import Log
from recorder.observe.rejections import Rejections
from recorder.trace.control_socket import MAX_ASKED, MAX_SECONDS, NAME, short_path
from recorder.trace.masked_message import shown
from recorder.trace.masks import KEY_BYTES, Masks, address
from sip.endpoint import Endpoint
from sip.message.header_values import Flow
from sip.message.message import Framed
from storage.timestamps import to_text

MAX_TRACES = 2
"""Clients at the same time; more are turned away."""
MAX_BYTES = 64 << 20
"""Bytes written to one client: some 30,000 messages."""
MAX_WAITING = 1 << 20
"""Bytes that a client may leave unread; while there are more, messages are skipped and counted."""
MAX_A_SECOND = 50
"""Messages shown a second in all traces: masking one takes up to a millisecond, and calls must not wait. The others are
counted.
"""
ASK_SECONDS = 5.0
"""Time that a client has to send its request."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(slots=True)
class _Trace:
    """One client."""

    writer: asyncio.StreamWriter
    masks: Masks
    source: Network | None  # only messages from and to this network
    over: asyncio.Event = field(default_factory=asyncio.Event)
    reason: str = "time"  # why it ends
    messages: int = 0
    skipped: int = 0
    written: int = 0

    def wants(self, host: str | None) -> bool:
        """Return whether the client wants messages from and to an address."""
        if self.source is None:
            return True
        try:
            found = ipaddress.ip_address((host or "").partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(found, "ipv4_mapped", None)
        return (mapped or found) in self.source

    def end(self, reason: str) -> None:
        """End the trace, unless it has ended."""
        if not self.over.is_set():
            self.reason = reason
            self.over.set()

    def write(self, line: dict[str, Any]) -> None:
        """Write a line; skip it if the client does not read, and end the trace after MAX_BYTES."""
        data = json.dumps(line).encode() + b"\n"
        if self.writer.transport.get_write_buffer_size() > MAX_WAITING:
            self.skipped += 1
        elif self.written + len(data) > MAX_BYTES:
            self.end("size")
        else:
            self.writer.write(data)
            self.written += len(data)
            self.messages += line["way"] != "note"


class TraceServer:
    """Listens for clients, and watches the endpoint for them."""

    def __init__(
        self, runtime_dir: Path, endpoint: Endpoint, rejections: Rejections, log: Log,
        start: Callable[[Coroutine[Any, Any, None], str], object], hosts: Collection[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """`start` runs a task under a name. `hosts`: host names of the configuration, which are not masked."""
        self._start = start
        self._folder = runtime_dir
        self._endpoint = endpoint
        self._rejections = rejections
        self._log = log
        self._hosts = hosts
        self._clock = clock
        self._traces: list[_Trace] = []
        self._second, self._count = 0, 0
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen; raises OSError."""
        with short_path(self._folder) as path:
            with suppress(FileNotFoundError):
                os.unlink(path)  # left by an earlier process
            listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            before = os.umask(0o177)
            try:
                listening.bind(path)
            except OSError:
                listening.close()
                raise
            finally:
                os.umask(before)
        self._server = await asyncio.start_unix_server(self._connected, sock=listening, limit=MAX_ASKED)

    async def stop(self) -> None:
        """End all traces and stop listening."""
        if self._server:
            self._server.close()
        for each in self._traces:
            each.end("stop")
        for _ in range(20):
            if not self._traces:
                break
            await asyncio.sleep(0.01)
        with suppress(OSError):
            (self._folder / NAME).unlink()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._start(self._serve(reader, writer), "trace")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            seconds, source = await self._asked(reader)
            if len(self._traces) >= MAX_TRACES:
                await _say(writer, {"end": "busy", "messages": 0, "skipped": 0})
                return
            trace = _Trace(writer, Masks(os.urandom(KEY_BYTES), self._hosts), source)
            await self._run(trace, reader, seconds)
        except (OSError, ValueError, TypeError, TimeoutError):
            return  # the request makes no sense, or the client is gone
        finally:
            writer.close()

    async def _asked(self, reader: asyncio.StreamReader) -> tuple[float, Network | None]:
        asked = json.loads(await asyncio.wait_for(reader.readline(), ASK_SECONDS))
        if not isinstance(asked, dict) or "seconds" not in asked:
            raise ValueError
        source = asked.get("source")
        seconds = min(max(float(asked["seconds"]), 0.0), MAX_SECONDS)
        return seconds, ipaddress.ip_network(source, strict=False) if source else None

    async def _run(self, trace: _Trace, reader: asyncio.StreamReader, seconds: float) -> None:
        self._log.info("trace.started", seconds=seconds)
        self._traces.append(trace)
        self._watch()
        self._start(_gone(reader, trace), "trace-client")
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(trace.over.wait(), seconds)
        finally:
            self._traces.remove(trace)
            self._watch()
            self._log.info("trace.ended", reason=trace.reason, count=trace.messages)
        await _say(trace.writer, {"end": trace.reason, "messages": trace.messages, "skipped": trace.skipped})

    def _watch(self) -> None:
        """Watch the endpoint while there is a trace."""
        self._endpoint.watched_by(self._message if self._traces else None)
        self._rejections.watched_by(self._refusal if self._traces else None)

    def _message(self, data: bytes | Framed, flow: Flow, ours: bool) -> None:
        if isinstance(data, bytes) and not data.strip():
            return  # a keep-alive
        wanted = [each for each in self._traces if each.wants(flow.remote[0])]
        if not self._may(wanted):
            return
        for each in wanted:
            try:
                text = shown(data, each.masks)
            except Exception:  # a message that cannot be shown is still processed
                text = "(a message that cannot be shown)\n"
            each.write(
                {
                    "time": _now(), "way": "sent" if ours else "received", "transport": flow.transport,
                    "peer": address(*flow.remote), "local": address(*flow.local), "text": text,
                }
            )  # fmt: skip

    def _refusal(self, words: str, source: str | None) -> None:
        wanted = [each for each in self._traces if each.wants(source)]
        if self._may(wanted):
            for each in wanted:
                each.write({"time": _now(), "way": "note", "peer": address(source or ""), "text": words + "\n"})

    def _may(self, wanted: list[_Trace]) -> bool:
        """Return whether a message may be shown now; count it as skipped if not."""
        second = int(self._clock())
        if second != self._second:
            self._second, self._count = second, 0
        self._count += bool(wanted)
        if self._count <= MAX_A_SECOND:
            return bool(wanted)
        for each in wanted:
            each.skipped += 1
        return False


async def _gone(reader: asyncio.StreamReader, trace: _Trace) -> None:
    """End a trace when its client closes the connection, as the daemon does at its end."""
    with suppress(OSError):
        await reader.read(1)
    trace.end("client")


async def _say(writer: asyncio.StreamWriter, line: dict[str, Any]) -> None:
    with suppress(OSError, TimeoutError):
        writer.write(json.dumps(line).encode() + b"\n")
        await asyncio.wait_for(writer.drain(), ASK_SECONDS)


def _now() -> str:
    return to_text(datetime.now(UTC))
