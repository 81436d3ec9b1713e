"""Names, numbers, URIs, keys and tokens planted in every place there is: none is in anything the recorder writes.

Each place has a canary of its own. The daemon runs with everything that makes Python and libraries talkative, its
PostgreSQL logs every statement with its values, and every refusal and failure that a client or an accident can cause is
caused. Then all that was said is searched in every coding: log, terminal, files and their names, metrics, health, error
answers, names of processes and threads, and the log of the database server.
"""

from __future__ import annotations

import gzip
import http.client
import json
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bench.processes import family
from tests.daemon.postgresql import Cluster, cluster
from tests.daemon.server import Server, command, server
from tests.journeys.privacy.canaries import Canaries
from tests.journeys.privacy.canary_messages import CASE, CASES, HEADERS, REQUESTS, SDP, USERS, WAIVER, XML

TALKATIVE = {"PYTHONASYNCIODEBUG": "1", "PYTHONDEVMODE": "1", "PYTHONWARNINGS": "always"}
STATEMENTS = "-c log_statement=all -c log_min_messages=debug1 -c log_min_error_statement=debug1 -c log_connections=on"
MIN_PLACES = 100
PATIENCE = 40  # seconds that anything may take, on a busy machine too
GONE = (FileNotFoundError, ProcessLookupError)  # a process, a thread, a file that ended since it was listed
TYPED = {"CLI customer", "CLI call", "CLI file", "CLI token"}  # a command tells who typed it what it took for what
ACME = "/api/v1/customers/acme"
ENDED = ["complete"] * 4  # the calls of three transports, and one whose worker died


@dataclass
class Scene:
    """A daemon, its database, what is planted and what was heard of it."""

    one: Server
    database: Cluster
    plants: Canaries = field(default_factory=Canaries)
    token: str = ""
    heard: dict[str, bytes] = field(default_factory=dict)

    def hear(self, where: str, said: bytes) -> None:
        """Remember what was said somewhere."""
        self.heard[where] = self.heard.get(where, b"") + said + b"\n"

    def run(self, *words: str | Path) -> None:
        """Run a command and hear its complaints; what it shows on purpose is not looked at."""
        done = self.one.run(*words)
        self.hear("terminal", done.stderr.encode())

    def ask(self, method: str, path: str, body: str | None = None, token: str | None = None) -> tuple[int, bytes]:
        """Ask the API; an answer that refuses is heard."""
        api = http.client.HTTPConnection("127.0.0.1", self.one.api, timeout=PATIENCE)
        headers = {"Authorization": f"Bearer {token or self.token}", "User-Agent": self.plants.at("HTTP User-Agent")}
        headers |= {self.plants.at("HTTP header name"): "x", "Cookie": f"s={self.plants.at('HTTP cookie')}"}
        headers |= {"Referer": f"https://{self.plants.at('HTTP Referer')}.example/"}
        api.request(method, path, body=body and body.encode(), headers=headers)
        answer = api.getresponse()
        data = answer.read()
        if answer.status >= 400:
            self.hear("error answers", data + str(answer.getheaders()).encode())
        api.close()
        return answer.status, data

    def calls(self) -> list[dict[str, Any]]:
        """List the calls as somebody sees them who may."""
        items: list[dict[str, Any]] = json.loads(self.ask("GET", f"{ACME}/calls")[1])["items"]
        return items

    def look(self) -> None:
        """Look at the names of all processes and threads, and at the names of the files they have open."""
        assert self.one.process is not None
        for pid in family(self.one.process.pid):
            here = Path(f"/proc/{pid}")
            for file in (here / "cmdline", here / "comm", *here.glob("task/*/comm")):
                with suppress(*GONE):
                    self.hear("titles", file.read_bytes())
            for link in here.glob("fd/*"):
                with suppress(*GONE):
                    self.hear("open files", os.readlink(link).encode())
        for path in ("/metrics", "/healthz", "/readyz"):
            self.hear(path, self.ask("GET", path)[1])


class Client:
    """An SBC over one transport, that talks and listens."""

    def __init__(self, scene: Scene, transport: str) -> None:
        self.plants, self.transport, self.count = scene.plants, transport, 0
        self.socket: socket.socket = socket.socket(type=socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(("127.0.0.1", scene.one.tls if transport == "tls" else scene.one.udp))
        if transport == "tls":
            anybody = ssl.create_default_context()
            anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
            name = self.plants.at("TLS server name") + ".example"
            self.socket = anybody.wrap_socket(self.socket, server_hostname=name)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *why: object) -> None:
        self.socket.close()

    def request(self, method: str, *, to: str = "", cseq: int = 1, body: str | None = None, type: str = "") -> bytes:
        """A request with everything planted in it."""
        host, port = self.socket.getsockname()[:2]
        if body is None and not type:
            type, body = 'multipart/mixed;boundary="b"', (
                f"--b\r\nContent-Type: application/sdp\r\n\r\n{SDP}\r\n--b\r\nContent-Type: application/rs-metadata+xml"
                f"\r\nContent-Disposition: recording-session\r\n\r\n{XML}\r\n--b--\r\n"
            )  # fmt: skip
        data = self.plants.plant(body or "").replace("\r\n", "\n").replace("\n", "\r\n").encode()
        head = "\r\n".join(
            [
                method + " sip:{number: Request-URI user}@rec.example;x={word: Request-URI parameter} SIP/2.0",
                "Via: SIP/2.0/[transport] [host]:[port];branch=z9hG4bK[call]{word: Via branch};rport",
                "Max-Forwards: 70",
                *HEADERS,
                "Call-ID: [call]{word: Call-ID}@pbx.example",
                f"CSeq: {cseq} {method}",
                "Require: siprec",
                *([f"Content-Type: {type}"] if data else []),
                f"Content-Length: {len(data)}\r\n\r\n",
            ]
        )
        names = {"tag": "dGFn", "to": to, "host": host, "port": port, "transport": self.transport.upper()}
        names["call"] = f"{self.transport}{self.count}-"
        for name, value in names.items():
            head = head.replace(f"[{name}]", str(value))
        branch = f"{method}{cseq}".encode()
        return self.plants.plant(head).encode().replace(b";rport", branch + b";rport") + data

    def say(self, data: bytes) -> bytes:
        """Send and return the final answer, or nothing."""
        try:
            self.socket.sendall(data)
            while True:
                heard = self.socket.recv(65536)
                if not heard or not heard.startswith((b"SIP/2.0 1", b"BYE ")):
                    return heard
        except OSError:
            return b""

    def begin(self) -> tuple[str, int]:
        """Set a call up; return the To tag and a media port."""
        self.count += 1
        answer = self.say(self.request("INVITE"))
        assert answer.startswith(b"SIP/2.0 200"), answer
        to = ";tag=" + answer.split(b"\r\nTo:")[1].split(b"\r\n")[0].rpartition(b";tag=")[2].decode()
        self.socket.sendall(self.request("ACK", to=to, body="", type="none"))
        return to, int(answer.split(b"m=audio ")[1].split()[0])

    def end(self, to: str) -> None:
        """Hang up, after everything else that may happen in a call."""
        said = (
            ("INFO", "Signal={word: digits by INFO}\r\nDuration=160", "application/dtmf-relay"),
            ("MESSAGE", "{name: text of a MESSAGE}", "text/plain"),
            ("UPDATE", None, ""),
            ("REFER", "", "none"),
            ("INVITE", None, ""),
        )
        for cseq, (method, body, type) in enumerate(said, 2):
            self.say(self.request(method, to=to, cseq=cseq, body=body, type=type))
            if method == "INVITE":
                self.socket.sendall(self.request("ACK", to=to, cseq=cseq, body="", type="none"))
        assert self.say(self.request("BYE", to=to, cseq=9, body="", type="none")).startswith(b"SIP/2.0 200")


def hostile(client: Client) -> Iterator[bytes]:
    """Malformed and refused messages, all full of canaries."""
    client.count += 1
    good, plant = client.request("INVITE"), lambda place: client.plants.at(place).encode()
    yield good.replace(b"CSeq: 1 INVITE", b"CSeq: " + plant("broken CSeq"))
    yield good.replace(b"SIP/2.0\r\n", plant("broken version") + b"/9\r\n", 1)
    yield good.replace(b"Content-Length: ", b"Content-Length: " + plant("broken length"))
    yield good.replace(b"Require: siprec", b"Require: " + plant("unknown extension"))
    yield good.replace(b"m=audio", b"m=" + plant("broken media")).replace(b"v=0", b"v=" + plant("broken SDP"))
    yield good.replace(b"inline:", b"inline:!!" + plant("broken SDES key"))
    yield good.replace(b"<name>", b"<name><" + plant("broken XML") + b">")
    yield good.replace(b"INVITE", plant("unknown SIP method").upper())
    yield good.replace(b"multipart/mixed", plant("unknown type") + b"/x")
    yield client.request("BYE", to=";tag=" + client.plants.at("unknown dialog"))
    yield client.request("CANCEL", body="", type="none")
    yield b"%s sip:%s\r\n\r\n" % (plant("no SIP at all"), plant("no SIP URI"))
    yield bytes(range(256)) + plant("bytes of no kind") + b"\r\n\r\n"


def media(plants: Canaries, port: int) -> None:
    """Send RTP and RTCP with names in them to a media port, encrypted with no key at all."""
    with socket.socket(type=socket.SOCK_DGRAM) as sender:
        sound = struct.pack("!BBHII", 0x80, 8, 1, 160, 77) + plants.at("RTP payload").encode() * 8
        cname = plants.at("RTCP CNAME").encode()
        sdes = struct.pack("!BBHIBB", 0x81, 202, 8, 77, 1, len(cname)) + cname.ljust(26, b"\0")
        bye = struct.pack("!BBHI", 0x81, 203, 7, 77) + plants.at("RTCP BYE reason").encode().ljust(24, b"\0")
        for data in (sound, sdes, bye, sound[:11]):
            sender.sendto(data, ("127.0.0.1", port))
            sender.sendto(data, ("127.0.0.1", port + 1))


def calls_and_attacks(scene: Scene) -> None:
    for transport in ("udp", "tcp", "tls"):
        with Client(scene, transport) as client:
            to, port = client.begin()
            media(scene.plants, port)
            scene.look()
            client.end(to)
            messages = list(hostile(client))
        for data in messages:
            with Client(scene, transport) as client:
                client.socket.settimeout(0.2)
                client.say(data)
    with socket.create_connection(("127.0.0.1", scene.one.api)) as garbage:
        garbage.sendall(f"{scene.plants.at('no HTTP')} /\r\n\r\n".encode())


@contextmanager
def traced(scene: Scene, file: Path) -> Iterator[None]:
    """Have `recorder trace` watch meanwhile, and hear what it writes."""
    line = [sys.executable, "-m", "recorder", "trace", "--for", "1h", "-o", str(file), "--config"]
    tracing = subprocess.Popen([*line, str(scene.one.config)], stderr=subprocess.PIPE)
    try:
        scene.one.until("trace.started")
        yield
    finally:
        tracing.send_signal(signal.SIGINT)
        said = tracing.communicate(timeout=PATIENCE)[1]
    scene.hear("trace", file.read_bytes() + said)


def a_worker_dies_in_a_call(scene: Scene) -> None:
    assert scene.one.process is not None
    with Client(scene, "tls") as client:
        client.count = 90
        to, _ = client.begin()
        for pid in family(scene.one.process.pid)[1:]:
            with suppress(*GONE):
                if b"recorder.workers.process" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)
        scene.one.until("media.resumed", seconds=PATIENCE)
        client.end(to)


def everything_is_asked(scene: Scene) -> str:
    """Ask everything that the API can be asked; return the id of a call."""
    deadline = time.monotonic() + PATIENCE
    while [call["state"] for call in scene.calls()] != ENDED:
        assert time.monotonic() < deadline, scene.calls()
        time.sleep(0.2)
    call = scene.calls()[0]["id"]
    for method, path, body in REQUESTS:
        body = WAIVER.replace("[sha]", "00" * 32) if (method, body) == ("PUT", None) else body
        place, text = (scene.plants.plant(part.replace("[call]", call)) for part in (path, body or ""))
        scene.ask(scene.plants.plant(method), ACME + place, text)
    a_letter_is_answered(scene, call)
    scene.ask("GET", f"/api/v1/customers/{scene.plants.at('API customer')}/calls")
    scene.ask("GET", f"/%00{scene.plants.at('path outside the API')}")
    scene.ask("GET", f"{ACME}/calls", token=scene.plants.at("API token"))
    return str(call)


def a_letter_is_answered(scene: Scene, call: str) -> None:
    """File a request, ask everything about it, fetch the report, and close it."""
    letter = scene.plants.plant(CASE).replace('"Zq"', json.dumps(scene.plants.at("XML name", "name")))
    case = json.loads(scene.ask("POST", f"{ACME}/requests", letter)[1])["id"]
    for method, path, body in CASES:
        place, text = (
            scene.plants.plant(part.replace("[case]", case).replace("[call]", call)) for part in (path, body or "")
        )
        scene.ask(method, ACME + place, text)
    deadline = time.monotonic() + PATIENCE
    while json.loads(scene.ask("GET", f"{ACME}/requests/{case}/report")[1]).get("state") == "running":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert scene.ask("GET", f"{ACME}/requests/{case}/report/file")[0] == 200
    assert scene.ask("POST", f"{ACME}/requests/{case}/close", '{"outcome": "closed"}')[0] == 200


def commands(scene: Scene, place: Path, call: str) -> None:
    people = place / "people.csv"
    people.write_text(scene.plants.plant(USERS))
    scene.run("directory", "import", people, "--customer", "acme", "--yes")
    people.write_text(scene.plants.plant("{word: CSV column},email\n{name: CSV odd},{word: CSV bad mail}\n"))
    scene.run("directory", "import", people, "--customer", "acme")
    scene.run("calls", "--party", scene.plants.at("CLI party"))
    scene.run("calls", "--customer", scene.plants.at("CLI customer"))
    scene.run("export", scene.plants.at("CLI call"), "-o", place / "out.wav")
    scene.run("export", call, "-o", place / "none" / f"{scene.plants.at('CLI file')}.wav")
    scene.run("token", "revoke", scene.plants.at("CLI token"), "--customer", "acme")


def accidents(scene: Scene, call: str) -> None:
    """Take the database away while somebody searches, and damage a recording that somebody then wants to hear."""
    scene.database.stop()
    assert scene.ask("GET", ACME + scene.plants.plant("/calls?party={word: party while away}"))[0] == 503
    body = scene.plants.plant('{"text": "{name: note while away}"}')
    assert scene.ask("POST", f"{ACME}/calls/{call}/annotations", body)[0] == 503
    scene.database.start()
    for part in (scene.one.data / "customers" / "acme" / "vault").glob(f"*/{call}.*"):
        part.write_bytes(part.read_bytes()[:200] + b"damaged")
    scene.ask("GET", f"{ACME}/calls/{call}/media?format=wav")
    scene.run("verify")


def archived(scene: Scene, file: Path) -> None:
    """Have `recorder support` write its archive, and hear every file in it."""
    commented = file.with_name("recorder.toml")
    comment = scene.plants.plant("# {name: comment in the configuration} {number: number in the configuration}\n")
    commented.write_text(comment + scene.one.config.read_text())
    done = command("support", "-o", file, "--log", scene.one.log, "--config", commented, timeout=200)
    assert done.returncode == 0 and "Missing" not in done.stderr, done
    assert file.stat().st_mode & 0o777 == 0o600
    with tarfile.open(file) as archive:
        for member in archive.getmembers():
            scene.hear(f"support: {member.name}", archive.extractfile(member).read())
    scene.hear("support", gzip.decompress(file.read_bytes()))


def test_nothing_that_was_planted_anywhere_is_said_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in TALKATIVE.items():
        monkeypatch.setenv(name, value)
    place, outside = tmp_path / "place", tmp_path / "outside"
    place.mkdir()
    outside.mkdir()
    with cluster(STATEMENTS) as database, server(place, level="debug") as one:
        scene = Scene(one, database)
        one.config.write_text(f'{one.config.read_text()}[storage]\ndatabase = "{database.url}"\n')
        database.start()
        one.init()
        scene.token = one.tokens["admin"]
        one.start()
        with traced(scene, outside / "trace.txt"):
            calls_and_attacks(scene)
        a_worker_dies_in_a_call(scene)
        call = everything_is_asked(scene)
        commands(scene, outside, call)
        accidents(scene, call)
        archived(scene, outside / "support.tar.gz")
        scene.look()
        shown = scene.ask("GET", f"{ACME}/calls?limit=1000")[1]
        assert one.stop() == 0
        scene.hear("database server", database.log.read_bytes())
    scene.hear("log", one.log.read_bytes())
    for file in sorted(place.rglob("*")):
        scene.hear("file names", str(file.relative_to(place)).encode())
        scene.hear("files", file.read_bytes() if file.is_file() and file != one.log else b"")
    judge(scene, shown)


def judge(scene: Scene, shown: bytes) -> None:
    """Look that everything was planted, shown to who may see it, and said nowhere else."""
    assert len(scene.plants.places) >= MIN_PLACES, sorted(scene.plants.places)
    assert {"XML name", "XML aor", "session id", "Call-ID"} <= set(scene.plants.found(shown))
    assert b"INSERT INTO calls" in scene.heard["database server"]
    assert len(scene.heard) >= 11 + 8
    archive = {where.partition("/")[2]: said for where, said in scene.heard.items() if where.startswith("support: ")}
    assert b'"event": "sip.refused"' in archive["log.jsonl"] and b"another.line" not in archive["log.jsonl"]
    assert b'"kind": "call-refused"' in archive["incidents.jsonl"]
    assert b'recorder_calls_total{result="complete"} ' in archive["metrics.txt"]
    assert b'"name": "start"' in archive["doctor.json"] or b'"name": "start.' in archive["doctor.json"]
    assert all(
        word in scene.heard["trace"]
        for word in (b"INVITE sip:user-", b"inline:***", b"SIP/2.0 200 OK", b"<participant")
    )
    assert all(said.strip() for said in scene.heard.values()), scene.heard.keys()
    assert [line for line in scene.one.lines() if "text" in line] == []
    assert b"Traceback" not in scene.heard["log"] + scene.heard["terminal"]
    assert [e for e in scene.one.events() if e.endswith("fault")] == []
    found = {where: set(scene.plants.found(said)) for where, said in scene.heard.items()}
    found["terminal"] -= TYPED
    assert {where: places for where, places in found.items() if places} == {}
