"""Names, numbers, URIs, keys and tokens planted in every place of a call: none is in any log line, however written."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from tests.journeys.server import Server, server

WORDS = ("Zebrowskaja", "Ömürgül-Planted", "planted.user.name", "plantedhost.example", "PlantedBearerToken77aaXX")
NUMBERS = ("+4915198765432", "015198765432")
KEYS = tuple(base64.b64encode(bytes([n]) * 15 + b"PlantedSrtpKey.").decode() for n in (1, 2))
PLANTED = (*WORDS, *NUMBERS, *KEYS)
HEADERS = (
    'From: "{word}" <sip:{number}@plantedhost.example>;tag={tag}',
    'To: "{word}" <sip:planted.user.name@plantedhost.example>{to}',
    'P-Asserted-Identity: "{word}" <tel:{number}>',
    "Diversion: <sip:{number}@plantedhost.example>;reason=unconditional",
    "History-Info: <sip:{number}@plantedhost.example>;index=1",
    "Remote-Party-ID: {word} <sip:{number}@plantedhost.example>",
    "Authorization: Bearer PlantedBearerToken77aaXX",
    "Subject: {word} {number}",
    "User-Agent: {word} {number}",
    "Session-ID: PlantedBearerToken77aaXX",
    "X-{word}: {word}",
    "Call-Info: <https://plantedhost.example/{number}?token=PlantedBearerToken77aaXX>",
    "Contact: <sip:planted.user.name@{host}:{port};transport={transport}>;+sip.src",
)
SDP = """v=0
o=planted.user.name 1 1 IN IP4 127.0.0.1
s={word}
i={number}
u=https://plantedhost.example/
e=planted.user.name@plantedhost.example
p={number}
c=IN IP4 127.0.0.1
t=0 0
m=audio 40000 RTP/SAVP 8
a=label:1
a=x-{word}:{number}
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}
a=sendonly
m=audio 40002 RTP/SAVP 8
a=label:2
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{other}
a=sendonly
"""
XML = """<?xml version="1.0"?><recording xmlns="urn:ietf:params:xml:ns:recording:1"><datamode>complete</datamode>
<session session_id="{tag}"/><participant participant_id="p1"><nameID aor="sip:{number}@plantedhost.example">
<name>{word}</name></nameID><extension><x>{word} PlantedBearerToken77aaXX</x></extension></participant>
<participantstreamassoc participant_id="p1"><send>s1</send></participantstreamassoc>
<stream stream_id="s1" session_id="{tag}"><label>1</label></stream>{end}"""


class Client:
    """An SBC over one transport, that talks and listens."""

    def __init__(self, one: Server, transport: str) -> None:
        self.transport, self.count = transport, 0
        kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
        self.socket: socket.socket = socket.socket(type=kind)
        self.socket.settimeout(5)
        self.socket.connect(("127.0.0.1", one.tls if transport == "tls" else one.udp))
        if transport == "tls":
            anybody = ssl.create_default_context()
            anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
            self.socket = anybody.wrap_socket(self.socket)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *why: object) -> None:
        self.socket.close()

    def request(
        self, method: str, word: str, number: str, *, to: str = "", cseq: int = 1, bodies: bool = True
    ) -> bytes:
        """A request with everything planted in it."""
        host, port = self.socket.getsockname()[:2]
        names = {
            "word": word, "number": number, "tag": "dGFn", "to": to, "key": KEYS[0], "other": KEYS[1],
            "end": "</recording>", "host": host, "port": port, "transport": self.transport,
        }  # fmt: skip
        sdp, xml = (text.format(**names).replace("\n", "\r\n") for text in (SDP, XML))
        body = (
            f"--b\r\nContent-Type: application/sdp\r\n\r\n{sdp}\r\n--b\r\n"
            "Content-Type: application/rs-metadata+xml\r\nContent-Disposition: recording-session\r\n\r\n"
            f"{xml}\r\n--b--\r\n"
        ).encode()
        branch = f"z9hG4bK{self.transport}{self.count}{method}{cseq}"
        lines = [
            f"{method} sip:{number}@plantedhost.example;x={word.encode('ascii', 'ignore').decode()} SIP/2.0",
            f"Via: SIP/2.0/{self.transport.upper()} {host}:{port};branch={branch};rport",
            "Max-Forwards: 70",
            *(line.format(**names) for line in HEADERS),
            f"Call-ID: {number}-{self.transport}{self.count}@plantedhost.example",
            f"CSeq: {cseq} {method}",
            "Require: siprec",
        ]
        lines += ['Content-Type: multipart/mixed;boundary="b"'] if bodies else []
        body = body if bodies else b""
        return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body

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

    def call(self, word: str, number: str) -> None:
        """A whole call with everything that may happen in one."""
        self.count += 1
        answer = self.say(self.request("INVITE", word, number))
        assert answer.startswith(b"SIP/2.0 200"), answer
        to = ";tag=" + answer.split(b"\r\nTo:")[1].split(b"\r\n")[0].rpartition(b";tag=")[2].decode()
        self.socket.sendall(self.request("ACK", word, number, to=to, bodies=False))
        for cseq, method in enumerate(("UPDATE", "INFO", "MESSAGE", "REFER", "INVITE"), 2):
            self.say(self.request(method, word, number, to=to, cseq=cseq))
            if method == "INVITE":
                self.socket.sendall(self.request("ACK", word, number, to=to, cseq=cseq, bodies=False))
        assert self.say(self.request("BYE", word, number, to=to, cseq=9)).startswith(b"SIP/2.0 200")


def hostile(client: Client) -> Iterator[bytes]:
    """Malformed and refused messages, all full of plants."""
    client.count += 1
    good = client.request("INVITE", WORDS[0], NUMBERS[0])
    yield good.replace(b"CSeq: 1 INVITE", b"CSeq: Zebrowskaja")
    yield good.replace(b"SIP/2.0\r\n", b"Zebrowskaja/9\r\n", 1)
    yield good.replace(b"Content-Length: ", b"Content-Length: +4915198765432")
    yield good.replace(b"Require: siprec", b"Require: Zebrowskaja")
    yield good.replace(b"m=audio", b"m=Zebrowskaja").replace(b"v=0", b"v=+4915198765432")
    yield good.replace(b"inline:", b"inline:!!")
    yield good.replace(b"<name>", b"<name><Zebrowskaja>")
    yield good.replace(b"INVITE", b"ZEBROWSKAJA")
    yield client.request("BYE", WORDS[0], NUMBERS[0], to=";tag=+4915198765432")
    yield client.request("CANCEL", WORDS[0], NUMBERS[0], bodies=False)
    yield b"Zebrowskaja +4915198765432 sip:planted.user.name@plantedhost.example\r\n\r\n"
    yield bytes(range(256)) + KEYS[0].encode() + b"\r\n\r\n"


def written(secret: str) -> Iterator[str]:
    """Every way in which a value might get into a line."""
    raw = secret.encode()
    yield secret
    yield secret.lower()
    yield secret.upper()
    yield secret[::-1]
    yield urllib.parse.quote(secret, safe="")
    yield json.dumps(secret)[1:-1]
    yield repr(raw)[2:-1]
    yield raw.hex()
    yield raw.hex().upper()
    yield raw.decode("latin-1")
    for shift in range(3):
        yield base64.b64encode(b"\0" * shift + raw).decode()[4 if shift else 0 : -4]
    if secret.startswith("+"):
        yield from (secret[1:], secret[3:])


def test_no_plant_grows_in_the_log(tmp_path: Path) -> None:
    with server(tmp_path, level="debug") as one:
        one.init()
        one.start()
        for transport in ("udp", "tcp", "tls"):
            for word, number in zip(WORDS[:2], NUMBERS, strict=True):
                with Client(one, transport) as client:
                    client.call(word, number)
            with Client(one, transport) as client:
                messages = list(hostile(client))
            for data in messages:
                with Client(one, transport) as client:
                    client.socket.settimeout(0.3)
                    client.say(data)
        api = http.client.HTTPConnection("127.0.0.1", one.api, timeout=5)
        for path in (
            "/api/v1/customers/Zebrowskaja/calls?party=%2B4915198765432",
            "/%00Zebrowskaja",
            "/healthz?x=+4915198765432",
        ):
            api.request("GET", path, headers={"Authorization": "Bearer PlantedBearerToken77aaXX", "Zebrowskaja": "x"})
            api.getresponse().read()
        api.close()
        with socket.create_connection(("127.0.0.1", one.api)) as garbage:
            garbage.sendall(b"Zebrowskaja +4915198765432\r\n\r\n")
        time.sleep(0.5)
        assert one.stop() == 0
        log = one.log.read_text()
        assert [line for line in one.lines() if "text" in line] == []
        assert "Traceback" not in log
        assert not [e for e in one.events() if e.endswith("fault")], log
        lowered = log.lower()
        found = [way for secret in PLANTED for way in written(secret) if len(way) >= 6 and way.lower() in lowered]
        assert found == []
        calls = json.loads(one.run("calls", "--json").stdout)["items"]
        assert len(calls) >= 6
        assert any(party["name"] == WORDS[0] for call in calls for party in call["parties"])
