"""The same load on rtpengine: userspace, recording to pcap, told by its ng protocol (bencode over UDP), media blocked.

`python -m bench.rtpengine [--calls N] [--seconds S]`. Blocked means that it receives, decrypts and records, as a
recorder does, and forwards nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import processes
from bench.capacity import HEADER, SETTLE, Row, stretch
from recorder import output
from recorder.simulate.media_link import MediaLink
from recorder.simulate.plan import SUITES

NG = ("127.0.0.1", 22223)
READY_SECONDS = 10.0
Words = dict[str, Any]


def encode(value: object) -> bytes:
    """Write a value as bencode."""
    match value:
        case int():
            return b"i%de" % value
        case str():
            return encode(value.encode())
        case bytes():
            return b"%d:%s" % (len(value), value)
        case list():
            return b"l" + b"".join(map(encode, value)) + b"e"
        case dict():
            return b"d" + b"".join(encode(key) + encode(value[key]) for key in sorted(value)) + b"e"
    raise TypeError(f"bencode knows no {type(value).__name__}")


def decode(data: bytes, at: int = 0) -> tuple[Any, int]:
    """Read one bencoded value; give it and where it ends."""
    kind = data[at : at + 1]
    if kind == b"i":
        end = data.index(b"e", at)
        return int(data[at + 1 : end]), end + 1
    if kind in b"ld":
        items, at = [], at + 1
        while data[at : at + 1] != b"e":
            item, at = decode(data, at)
            items.append(item)
        pairs = zip(items[::2], items[1::2], strict=False)
        return (items if kind == b"l" else {key.decode(): value for key, value in pairs}), at + 1
    colon = data.index(b":", at)
    end = colon + 1 + int(data[at:colon])
    return data[colon + 1 : end], end


class Control:
    """One ng client."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(NG)
        self._socket.settimeout(5)

    def ask(self, command: str, **words: object) -> Words:
        """Give a command and return its reply; raise SystemExit if rtpengine will not."""
        cookie = secrets.token_hex(8).encode()
        plain = {name.replace("_", "-"): value for name, value in words.items()} | {"command": command}
        named = {{"record-call": "record call"}.get(name, name): value for name, value in plain.items()}
        self._socket.send(cookie + b" " + encode(named))
        reply: Words = decode(self._socket.recv(65_535).partition(b" ")[2])[0]
        if reply.get("result") not in (b"ok", b"pong"):
            raise SystemExit(f"rtpengine refuses {command}: {reply}")
        return reply

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


@contextlib.contextmanager
def running(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], Control]]:
    """Start rtpengine in userspace and wait until it answers."""
    words = [
        "rtpengine", "--foreground", "--table=-1", "--interface=127.0.0.1", f"--listen-ng={NG[0]}:{NG[1]}",
        "--port-min=26000", "--port-max=39999", f"--recording-dir={folder}", "--recording-method=pcap",
        "--log-level=3", "--log-stderr",
        "--num-threads=2", f"--pidfile={folder}/pid",
    ]  # fmt: skip
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, cwd=folder)
    control = Control()
    try:
        _wait(control, process, folder / "log")
        yield process, control
    finally:
        control.close()
        process.kill()  # Debian's 12.5 may dump core when told to stop with calls open
        process.wait(30)


def _wait(control: Control, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            control.ask("ping")
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"rtpengine does not start: {log.read_text()[-500:]}")


def _sdp(port: int, suite: str, key: bytes) -> str:
    crypto = "" if suite == "none" else f"a=crypto:1 {suite} inline:{base64.b64encode(key).decode()}\r\n"
    media = (
        f"m=audio {port} RTP/{'AVP' if suite == 'none' else 'SAVP'} 8\r\na=rtpmap:8 PCMA/8000\r\n{crypto}a=sendrecv\r\n"
    )
    return f"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n{media}"


def _port(reply: Words) -> int:
    line = next(each for each in reply["sdp"].decode().split("\r\n") if each.startswith("m="))
    return int(line.split()[1])


def place(control: Control, number: int, ports: list[int], suite: str) -> list[Words]:
    """Set up one recorded call; give its two streams as the media process wants them."""
    keys = [os.urandom(SUITES.get(suite, 0)) for _ in ports]
    call = f"bench-{number}"
    profile = "RTP/AVP" if suite == "none" else "RTP/SAVP"
    common: Words = {"call_id": call, "from_tag": "a", "record_call": "yes", "ICE": "remove"}
    second = _port(control.ask("offer", sdp=_sdp(ports[0], suite, keys[0]), transport_protocol=profile, **common))
    first = _port(control.ask("answer", sdp=_sdp(ports[1], suite, keys[1]), to_tag="b", **common))
    control.ask("block media", call_id=call)
    return [
        {
            "id": 2 * number + i, "lane": i, "codec": "PCMA", "run": 1, "call": number, "stream": i, "sound": 0,
            "ssrc": 1 + 2 * number + i, "suite": None if suite == "none" else suite, "key": key.hex(), "peer_key": "",
            "host": "127.0.0.1", "port": port, "rtcp_port": port + 1,
        }
        for i, (key, port) in enumerate(zip(keys, (first, second), strict=True))
    ]  # fmt: skip


async def measure(calls: int, seconds: float, suite: str) -> Row | None:
    """Load a fresh rtpengine with so many calls; None where it is not installed."""
    if shutil.which("rtpengine") is None:
        print("rtpengine is not installed (Debian: apt-get install rtpengine); measured without it.")
        return None
    media = MediaLink()
    await media.start()
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder, running(Path(folder)) as (process, control):
            return await _measure(media, process.pid, control, calls, seconds, suite)
    finally:
        await media.stop()


async def _measure(media: MediaLink, pid: int, control: Control, calls: int, seconds: float, suite: str) -> Row:
    ports = (await media.do("open", address="127.0.0.1", lanes=2))["ports"]
    idle = processes.memory(pid)
    for number in range(calls):
        streams = place(control, number, ports, suite)
        await media.do("add", streams=streams)
        await media.do("on", ids=[stream["id"] for stream in streams])
    await asyncio.sleep(SETTLE)
    cost = await stretch(pid, media, seconds)
    memory = (processes.memory(pid) - idle) / calls
    await media.do("off", ids=list(range(2 * calls)))
    await asyncio.sleep(1)
    figures = await media.do("count")
    totals = [control.ask("query", call_id=f"bench-{number}")["totals"]["RTP"] for number in range(calls)]
    stored = sum(total["packets"] - total["errors"] for total in totals)
    return Row("rtpengine", calls, cost.micros, figures["packets"], stored, memory, cost.late)


def main() -> None:
    """Measure one load and print it."""
    parser = argparse.ArgumentParser(description="CPU per packet of rtpengine recording to pcap.")
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--suite", default="AES_CM_128_HMAC_SHA1_80")
    given = parser.parse_args()
    row = asyncio.run(measure(given.calls, given.seconds, given.suite))
    if row:
        output.table(HEADER, [row.cells()])


if __name__ == "__main__":
    main()
