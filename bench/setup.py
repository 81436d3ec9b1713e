"""Call set-up of the whole daemon: INVITEs a second with 3 kB of metadata, and the time to each answer.

Run `python -m bench.setup [--rates 50,100,200,300] [--seconds 5] [--transport udp|tcp]`.

Open loop: an INVITE leaves when it is due, whether or not earlier ones were answered, and its answer time counts from
then, so that a queue shows. Each call is acknowledged, and ended by BYE after a second; no media are sent. CPU time is
that of all processes of the daemon, from INVITE to BYE.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench import node, processes

METADATA_BYTES = 3_000
TALK_SECONDS = 1.0
ANSWER_SECONDS = 10.0
VOID_MS = 20.0
"""If the sender is later than this at the 99th percentile, the row measures the machine instead of the daemon."""
LIMIT_MS = 100.0
"""Longest answer time, at the 99th percentile, for a rate to count."""


@dataclass
class Client:
    """One recording client with any number of calls on one flow."""

    port: int
    transport: str
    send: Callable[[bytes], object]
    close: Callable[[], object]
    waiting: dict[tuple[str, str], asyncio.Future[tuple[int, str]]] = field(default_factory=dict)
    buffer: bytes = b""
    task: asyncio.Task[None] | None = None

    def heard(self, data: bytes) -> None:
        """Receive bytes from the daemon; over UDP always whole messages."""
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].decode()
            length = int(value(head, "Content-Length") or 0)
            if len(self.buffer) < end + 4 + length:
                return
            self.buffer = self.buffer[end + 4 + length :]
            self._answer(head)

    def _answer(self, head: str) -> None:
        if not head.startswith("SIP/2.0 ") or (status := int(head[8:11])) < 200:
            return
        future = self.waiting.pop((value(head, "Call-ID"), value(head, "CSeq")), None)
        if future and not future.done():
            future.set_result((status, value(head, "To")))

    async def ask(self, call: str, cseq: int, method: str, to: str = "", body: str = "") -> tuple[int, str]:
        """Send a request and return the status of its final answer, 0 if none comes."""
        future = self.waiting[call, f"{cseq} {method}"] = asyncio.get_running_loop().create_future()
        self.send(self.message(call, cseq, method, to, body))
        try:
            return await asyncio.wait_for(future, ANSWER_SECONDS)
        except TimeoutError:
            return 0, ""

    def message(self, call: str, cseq: int, method: str, to: str = "", body: str = "") -> bytes:
        """Return a request as bytes."""
        kind = "Content-Type: multipart/mixed;boundary=b\r\n" if body else ""
        return (
            f"{method} sip:rec@127.0.0.1 SIP/2.0\r\n"
            f"Via: SIP/2.0/{self.transport.upper()} 127.0.0.1:{self.port};branch=z9hG4bK{call}{cseq}{method};rport\r\n"
            f"From: <sip:sbc@127.0.0.1>;tag=t{call}\r\nTo: {to or '<sip:rec@127.0.0.1>'}\r\nCall-ID: {call}\r\n"
            f"CSeq: {cseq} {method}\r\nMax-Forwards: 70\r\nRequire: siprec\r\n"
            f"Contact: <sip:sbc@127.0.0.1:{self.port};transport={self.transport}>;+sip.src\r\n"
            f"{kind}Content-Length: {len(body)}\r\n\r\n{body}"
        ).encode()


def value(head: str, name: str) -> str:
    """Return a header field of a message; the daemon never uses compact names."""
    start = head.find(f"\r\n{name}: ")
    return head[start + len(name) + 4 :].partition("\r\n")[0] if start >= 0 else ""


def invitation(number: int) -> str:
    """Return the body of an INVITE: two media lines, and metadata padded to 3 kB."""
    offer = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    for label in (1, 2):
        offer += f"m=audio {4000 + 2 * label} RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=sendonly\r\na=label:{label}\r\n"
    people = "".join(
        f'<participant participant_id="p{n}"><nameID aor="sip:+49301{number:05}{n}@pbx.example"><name>Person {n}</name>'
        f'</nameID></participant><stream stream_id="s{n}" session_id="c{number}"><label>{n}</label></stream>'
        f'<participantstreamassoc participant_id="p{n}"><send>s{n}</send></participantstreamassoc>'
        for n in (1, 2)
    )
    text = f'<recording xmlns="urn:ietf:params:xml:ns:recording:1"><session session_id="c{number}"/>{people}'
    text += "<x:d xmlns:x='urn:example:pad'>"
    while len(text) < METADATA_BYTES:
        text += f"<x:f name='f{len(text)}'>0123456789abcdef0123456789abcdef</x:f>"
    text += "</x:d></recording>"
    kinds = (("application/sdp", offer), ("application/rs-metadata+xml", text))
    return "".join(f"--b\r\nContent-Type: {kind}\r\n\r\n{part}\r\n" for kind, part in kinds) + "--b--\r\n"


async def connected(port: int, transport: str) -> Client:
    """Open a flow to the daemon."""
    loop = asyncio.get_running_loop()
    if transport == "udp":
        way, ear = await loop.create_datagram_endpoint(_Datagrams, remote_addr=("127.0.0.1", port))
        ear.client = Client(way.get_extra_info("sockname")[1], transport, way.sendto, way.close)
        return ear.client
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    client = Client(writer.get_extra_info("sockname")[1], transport, writer.write, writer.close)

    async def listen() -> None:
        while data := await reader.read(1 << 16):
            client.heard(data)

    client.task = loop.create_task(listen())
    return client


class _Datagrams(asyncio.DatagramProtocol):
    client: Client

    def datagram_received(self, data: bytes, _: object) -> None:
        self.client.heard(data)


@dataclass(frozen=True)
class Call:
    """The result of one call."""

    answered: float
    """ms from the moment its INVITE was due to the answer."""
    well: bool
    """INVITE and BYE were answered 200."""
    late: float
    """ms by which the INVITE left late."""


async def call(client: Client, name: str, body: str, due: float) -> Call:
    """Place one call, acknowledge it and end it after a second."""
    late = 1000 * (time.monotonic() - due)
    status, to = await client.ask(name, 1, "INVITE", body=body)
    took = 1000 * (time.monotonic() - due)
    if status != 200:
        return Call(took, False, late)
    client.send(client.message(name, 1, "ACK", to))
    await asyncio.sleep(TALK_SECONDS)
    ended, _ = await client.ask(name, 2, "BYE", to)
    return Call(took, ended == 200, late)


async def step(port: int, transport: str, rate: int, seconds: float, first: int) -> list[Call]:
    """Place calls at one rate for some seconds and return them all."""
    client = await connected(port, transport)
    bodies = [invitation(first + n) for n in range(int(rate * seconds))]
    begin, jobs = time.monotonic() + 0.1, []
    for n, body in enumerate(bodies):
        due = begin + n / rate
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        jobs.append(asyncio.create_task(call(client, f"bench{first + n}", body, due)))
    done = await asyncio.gather(*jobs)
    client.close()
    return done


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass(frozen=True)
class Row:
    """The result of one rate."""

    rate: int
    middle: float
    high: float
    """Answer times in ms, at the median and the 99th percentile."""
    failed: int
    """Calls whose INVITE or BYE was not answered 200."""
    cpu: float
    """CPU ms of all processes of the daemon for each call, INVITE to BYE."""
    cores: float
    """Processors the daemon used while the calls were placed."""
    late: float
    """ms by which the sender was late at the 99th percentile."""

    @property
    def good(self) -> bool:
        """Return whether the daemon kept up."""
        return self.high <= LIMIT_MS and not self.failed

    def __str__(self) -> str:
        void = "" if self.late <= VOID_MS else "  VOID: the sender was late"
        return (
            f"{self.rate:>9}{self.middle:>9.1f}{self.high:>9.1f}{self.failed:>8}{self.cpu:>13.2f}{self.cores:>8.2f}"
            f"{self.late:>11.1f}{void}"
        )


HEAD = f"{'INVITE/s':>9}{'p50 ms':>9}{'p99 ms':>9}{'failed':>8}{'CPU ms/call':>13}{'cores':>8}{'late p99':>11}"


def measured(daemon: node.Node, transport: str, rate: int, seconds: float, first: int) -> Row:
    """Place calls at one rate and return the result."""
    before = processes.cpu(daemon.process.pid)
    calls = asyncio.run(step(daemon.sip, transport, rate, seconds, first))
    spent = processes.cpu(daemon.process.pid) - before
    times = [call.answered for call in calls]
    return Row(
        rate,
        percentile(times, 0.5),
        percentile(times, 0.99),
        sum(not call.well for call in calls),
        1000 * spent / len(calls),
        spent / seconds,
        percentile([call.late for call in calls], 0.99),
    )


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """Run all rates and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rates", default="50,100,200,300")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--transport", choices=("udp", "tcp"), default="udp")
    chosen = parser.parse_args(arguments)
    print(processes.machine())
    rows: list[Row] = []
    with node.running() as daemon:
        print(f"{HEAD}   over {chosen.transport.upper()}")
        asyncio.run(step(daemon.sip, chosen.transport, 10, 1.0, 0))  # imports and caches
        first = 10
        for rate in map(int, chosen.rates.split(",")):
            rows.append(measured(daemon, chosen.transport, rate, chosen.seconds, first))
            first += int(rate * chosen.seconds)
            print(rows[-1], flush=True)
    best = max((row for row in rows if row.good), key=lambda row: row.rate, default=None)
    found = best.rate / max(1.0, best.cores) if best else 0
    print(f"{found:.0f} INVITE/s and core with every call answered 200 and p99 of at most {LIMIT_MS:.0f} ms")
    return rows


if __name__ == "__main__":
    main()
