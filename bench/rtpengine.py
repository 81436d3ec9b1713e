"""The same load on rtpengine in user space: media blocked and recorded to pcap, control by its ng protocol.

Run `python -m bench.rtpengine [--calls N] [--seconds S]`. Blocked means that rtpengine receives, decrypts and records
media, as a recorder does, and forwards nothing. The ng protocol is bencode over UDP (bench.ng).
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench import ng, processes
from bench.capacity import HEADER, SETTLE, Row, stretch
from recorder.cli import console
from recorder.simulate.media_link import MediaLink
from recorder.simulate.plan import SUITES

NG = ("127.0.0.1", 22223)


@contextlib.contextmanager
def running(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], ng.Control]]:
    """Start an rtpengine that records to pcap; raise SystemExit if that fails."""
    words = ["--port-min=26000", "--port-max=39999", f"--recording-dir={folder}", "--recording-method=pcap"]
    try:
        with ng.running(folder, NG, *words, "--num-threads=2") as both:
            yield both
    except ng.Unwilling as error:
        raise SystemExit(str(error)) from None


def _sdp(port: int, suite: str, key: bytes) -> str:
    crypto = "" if suite == "none" else f"a=crypto:1 {suite} inline:{base64.b64encode(key).decode()}\r\n"
    media = (
        f"m=audio {port} RTP/{'AVP' if suite == 'none' else 'SAVP'} 8\r\na=rtpmap:8 PCMA/8000\r\n{crypto}a=sendrecv\r\n"
    )
    return f"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n{media}"


def _port(reply: ng.Words) -> int:
    line = next(each for each in reply["sdp"].split("\r\n") if each.startswith("m="))
    return int(line.split()[1])


def place(control: ng.Control, number: int, ports: list[int], suite: str) -> list[ng.Words]:
    """Set up one recorded call; return its two streams as the media process needs them."""
    keys = [os.urandom(SUITES.get(suite, 0)) for _ in ports]
    call = f"bench-{number}"
    profile = "RTP/AVP" if suite == "none" else "RTP/SAVP"
    common: ng.Words = {"call_id": call, "from_tag": "a", "record_call": "yes", "ICE": "remove"}
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
    """Load a new rtpengine with this many calls; None if it is not installed."""
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


async def _measure(media: MediaLink, pid: int, control: ng.Control, calls: int, seconds: float, suite: str) -> Row:
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
        console.table(HEADER, [row.cells()])


if __name__ == "__main__":
    main()
