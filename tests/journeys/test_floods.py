"""Floods at the SIP ports, of strangers and of known sources: calls go on, logs stay short, all is counted."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import socket
import ssl
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from recorder.simulate.report import CallReport
from sip.message.message import Response, parse
from tests.daemon.coded_calls import Watched, missing, own_place, place, reasons, wishes
from tests.daemon.flood import Datagram, flood
from tests.daemon.server import Server, server
from tests.in_process.offers import sdp

pytestmark = pytest.mark.alone  # 10,000 packets a second, answered in time

CALLS = 20
RATE = 10_000
SECOND = 0.95
"""Seconds between two log lines of one source, less what the clocks differ by."""
AT_ONCE = 0.2
TOGETHER = 20
"""Lines a second about unwelcome input from all sources together."""


@contextmanager
def watched(folder: Path, calls: int, **settings: Any) -> Iterator[Watched]:
    with server(folder, **{"level": "info", **own_place(calls), **settings}) as one:
        token = one.init()
        one.start()
        yield Watched(one, token)


def request(method: str, name: str, host: str, body: bytes = b"", more: str = "") -> bytes:
    """A request as an SBC at `host` sends it, with no port where answers would be read."""
    kind = "Content-Type: application/sdp\r\nRequire: siprec\r\n" if body else ""
    head = (
        f"{method} sip:rec@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {host};branch=z9hG4bK{name};rport\r\n"
        f"Max-Forwards: 70\r\nFrom: <sip:sbc@{host}>;tag=a\r\nTo: <sip:rec@127.0.0.1>\r\nCall-ID: {name}\r\n"
        f"CSeq: 1 {method}\r\nContact: <sip:sbc@{host}>;+sip.src\r\n{more}{kind}Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def nothing_missing(it: Watched, calls: Sequence[CallReport]) -> None:
    """Every frame of every call is there, and every call ended as it should."""
    assert [(call.number, call.faults) for call in calls if not call.well] == []
    recorded = it.over(calls)
    for call in calls:
        mine = recorded[call.session_id]
        channels = it.channels(mine["id"])
        assert [missing(s, found) for s, found in zip(call.streams, channels, strict=True)] == [(), ()]
        assert (mine["state"], [reasons(s) for s in mine["streams"]]) == ("complete", [set(), set()])


def processor_seconds(pid: int) -> float:
    """Processor time a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def dropped_by_the_kernel(host: str, port: int) -> int:
    """Datagrams that the kernel threw away because a socket was full (proc(5), the last word of each line)."""
    end = f"{int.from_bytes(socket.inet_aton(host), sys.byteorder):08X}:{port:04X}"
    rows = [line.split() for line in Path("/proc/net/udp").read_text().splitlines()[1:]]
    return sum(int(row[-1]) for row in rows if row[1] == end)


def spoken(own: socket.socket, data: bytes, method: str = "INVITE") -> Response:
    """Send a request, again every half second as UDP wants it, until its final answer comes."""
    for _ in range(40):
        own.send(data)
        with contextlib.suppress(TimeoutError):
            while True:
                answer = parse(own.recv(65536))
                if isinstance(answer, Response) and answer.cseq.method == method and answer.status >= 200:
                    return answer
    raise TimeoutError("no answer in 20 s")


def asked(one: Server, number: int) -> float:
    """Place a call by a bare INVITE from the known address; return the seconds until its 200, and hang up."""
    with socket.socket(type=socket.SOCK_DGRAM) as own:
        own.bind(("127.0.0.1", 0))
        own.settimeout(0.5)
        own.connect((one.host, one.udp))
        name, began = f"asked-{number}-{own.getsockname()[1]}", time.monotonic()
        data = request("INVITE", name, f"127.0.0.1:{own.getsockname()[1]}", sdp("sendonly", "sendonly"))
        answer = spoken(own, data)
        took = time.monotonic() - began
        assert answer.status == 200
        to = answer.headers.get("To") or ""
        for method, cseq in (("ACK", 1), ("BYE", 2)):
            line = (
                data.partition(b"Content-Type")[0]
                .decode()
                .replace("INVITE", method)
                .replace("CSeq: 1", f"CSeq: {cseq}")
            )
            line = line.replace("To: <sip:rec@127.0.0.1>", f"To: {to}").replace(f"hG4bK{name}", f"hG4bK{name}{method}")
            said = f"{line}Content-Length: 0\r\n\r\n".encode()
            if method == "ACK":
                own.send(said)
            else:
                assert spoken(own, said, method).status == 200
    return took


def lines_of(one: Server, event: str) -> list[dict[str, Any]]:
    return [line for line in one.lines() if line.get("event") == event]


def a_line_a_second(one: Server) -> dict[str, int]:
    """No source has two lines about its input within a second; return how many lines each has."""
    times: dict[str, list[float]] = defaultdict(list)
    for event in ("sip.refused", "sip.dropped"):
        for line in lines_of(one, event):
            times[str(line.get("source"))].append(datetime.fromisoformat(line["time"]).timestamp())
    for source, moments in times.items():
        pairs = itertools.pairwise(sorted(moments))
        assert [after - before for before, after in pairs if after - before < SECOND] == [], source
    return {source: len(moments) for source, moments in times.items()}


def options(count: int, host: str, port: int) -> list[Datagram]:
    """OPTIONS of many strangers."""
    chance = random.Random(7)
    out = []
    for number in range(count):
        source = f"127.{chance.randrange(1, 255)}.{chance.randrange(256)}.{chance.randrange(1, 255)}"
        out.append(Datagram((source, 0), (host, port), request("OPTIONS", f"o{number}", source)))
    return out


def strangers_disturb_nobody(tmp_path: Path, seconds: float) -> None:
    with watched(tmp_path, 1000, sources="127.0.0.1/32") as it:
        took: list[float] = []
        used = sent = 0.0

        async def meanwhile() -> None:
            nonlocal used, sent
            await it.talking(CALLS)
            assert it.one.process
            main = it.one.process.pid
            with flood(tmp_path / "flood", options(4000, it.one.host, it.one.udp), RATE, seconds) as running:
                before, began = processor_seconds(main), time.monotonic()
                while not running.over():
                    took.append(await asyncio.to_thread(asked, it.one, len(took)))
                    await asyncio.sleep(0.1)
                used = (processor_seconds(main) - before) / (time.monotonic() - began)
                sent = running.sent()

        calls = place(wishes(it.one, CALLS, seconds + 4), meanwhile)
        counted = it.figure('recorder_sip_dropped_total{reason="source"}')
        shown = sum(a_line_a_second(it.one).values())
        print(
            f"{sent / seconds:.0f} OPTIONS/s, {counted:.0f} of {sent:.0f} counted, {shown} lines, {used:.2f} of a core,"
        )
        print(f"{len(took)} INVITEs answered in {statistics.median(took):.3f} s, {max(took):.3f} s at most")
        nothing_missing(it, calls)
        assert sent >= 0.3 * RATE * seconds  # alone a machine sends all
        dropped = dropped_by_the_kernel(it.one.host, it.one.udp)  # some where the machine is busy
        assert counted + dropped >= 0.9 * sent, "none is left uncounted"
        assert sorted(took)[len(took) // 4] < AT_ONCE  # others may wait for a processor instead
        assert 1 <= shown <= TOGETHER * (seconds + 5)
        assert it.figure("recorder_log_suppressed_total") == counted - shown
        assert it.one.log.stat().st_size < max(200_000, 5_000 * seconds)


def test_ten_thousand_foreign_options_a_second_disturb_no_call(tmp_path: Path) -> None:
    strangers_disturb_nobody(tmp_path, 3.0)


@pytest.mark.torture
def test_torture_of_a_minute_of_options(tmp_path: Path) -> None:
    strangers_disturb_nobody(tmp_path, 60.0)


def bad_datagrams(one: Server) -> list[Datagram]:
    """Garbage, damaged messages and refused requests, each kind from a source of its own."""
    chance, to = random.Random(7), (one.host, one.udp)
    out = []
    for number in range(300):
        garbage = chance.randbytes(chance.randrange(1, 1400))
        name = f"bad{number}"
        damaged = request("INVITE", name, "127.1.0.2").replace(b"CSeq: 1 ", b"CSeq: x ")
        cut = request("INVITE", name, "127.1.0.3", sdp("sendonly"))[: chance.randrange(30, 500)]
        refused = request("INVITE", name, "127.1.0.4", sdp("sendonly"), "Require: nonsense\r\n")
        unknown = request(("REGISTER", "NONSENSE", "BYE", "CANCEL", "INFO")[number % 5], name, "127.1.0.5")
        reply = b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP x;branch=z9hG4bKx\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n"
        datas = (b"\x80" + garbage, damaged, cut, refused, unknown, reply)
        out += [Datagram((f"127.1.0.{n}", 0), to, data) for n, data in enumerate(datas, 1)]
    return out


async def bad_connections(one: Server, until: Callable[[], bool]) -> int:
    """Say nonsense over TCP, and to the TLS port what is no TLS; return how often."""
    count = 0
    context = ssl.create_default_context()  # does not know our certificate: a handshake that ends in an alert
    while not until():
        for source, port, secured in (
            ("127.1.1.1", one.udp, False),
            ("127.1.1.2", one.tls, False),
            ("127.1.1.3", one.tls, True),
        ):
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                _, writer = await asyncio.open_connection(
                    one.host, port, local_addr=(source, 0), ssl=context if secured else None,
                    server_hostname="recorder" if secured else None,
                )  # fmt: skip
                writer.write(b"\x16\x03nonsense\r\n\r\n" * 20)
                await writer.drain()
                writer.close()
            count += 1
    return count


def test_bad_input_is_counted_and_logged_once_a_second_a_source(tmp_path: Path) -> None:
    seconds = 3.0
    with watched(tmp_path, 4) as it:
        one, made, began = it.one, 0, time.monotonic()

        async def meanwhile() -> None:
            nonlocal made
            await it.talking(4)
            with flood(tmp_path / "flood", bad_datagrams(one), 3000, seconds) as running:
                made = await bad_connections(one, running.over)
                assert running.sent() > 0

        nothing_missing(it, place(wishes(one, 4, seconds + 4), meanwhile))
        seen = a_line_a_second(one)
        assert {f"127.1.0.{n}" for n in range(1, 7)} | {f"127.1.1.{n}" for n in range(1, 4)} <= seen.keys()
        assert sum(seen.values()) <= 9 * (time.monotonic() - began)
        for reason in ("response-unknown", "not-sip", "tls-handshake"):
            assert it.figure(f'recorder_sip_dropped_total{{reason="{reason}"}}') >= min(made / 4, 300), reason
        assert it.figure('recorder_sip_refused_total{method="INVITE",reason="require",status="420"}') >= 300
        assert it.figure('recorder_sip_refused_total{method="INVITE",reason="cseq",status="400"}') >= 300
        assert it.figure("recorder_log_suppressed_total") > 2000
        listed = {(i["reason"], i["status"]): i["count"] for i in it.ask("/incidents").json()["items"]}
        assert listed["require", 420] >= 300
        assert "Traceback" not in one.log.read_text()
        one.stop()
        one.start()
        after = {(i["reason"], i["status"]): i["count"] for i in it.ask("/incidents").json()["items"]}
        assert after == listed
