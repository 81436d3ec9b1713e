"""A session recording client of few lines: one call with two G.711 streams over UDP, with SDES keys if wanted."""

from __future__ import annotations

import base64
import json
import re
import socket
import struct
from dataclasses import asdict, dataclass
from typing import Any

import pylibsrtp

FRAME = 160
"""Samples of 20 ms."""

METADATA = """<?xml version="1.0" encoding="UTF-8"?>
<recording xmlns="urn:ietf:params:xml:ns:recording:1"><datamode>complete</datamode>
<session session_id="{session}"/>
<participant participant_id="cGFydGljaXBhbnQx"><nameID aor="sip:+4930111{number}@example.org"><name>Anna Example</name></nameID></participant>
<participant participant_id="cGFydGljaXBhbnQy"><nameID aor="sip:+4930222{number}@example.org"><name>Bert Example</name></nameID></participant>
<stream stream_id="c3RyZWFtMQ==" session_id="{session}"><label>1</label></stream>
<stream stream_id="c3RyZWFtMg==" session_id="{session}"><label>2</label></stream>
<participantstreamassoc participant_id="cGFydGljaXBhbnQx"><send>c3RyZWFtMQ==</send></participantstreamassoc>
<participantstreamassoc participant_id="cGFydGljaXBhbnQy"><send>c3RyZWFtMg==</send></participantstreamassoc>
</recording>"""  # noqa: E501 - as an SBC sends it


@dataclass
class Call:
    """A call of ours: all that a client must know to go on with it, so it can be kept as JSON."""

    number: int
    """Tells calls of one run apart."""
    recorder: str
    """Address of the recorder."""
    port: int
    """Its SIP port."""
    keys: tuple[str, ...] = ()
    """Master key and salt of each stream in base64; none for plain RTP."""
    to_tag: str = ""
    """The recorder's tag, once it answered."""
    ports: tuple[int, ...] = ()
    """Its RTP ports."""
    sent: int = 0
    """Frames that were sent on each stream."""

    def kept(self) -> dict[str, Any]:
        """Return it as JSON; `Call(**kept)` goes on with it."""
        return dict(json.loads(json.dumps(asdict(self))))

    def begin(self) -> None:
        """Place the call; raises RuntimeError if the recorder does not take it."""
        with socket.socket(type=socket.SOCK_DGRAM) as sip:
            sip.bind(("127.0.0.1", 0))
            sip.settimeout(10)
            self._send(sip, self._request("INVITE", 1, self._body(), 'multipart/mixed;boundary="b"'))
            while True:
                answer = sip.recv(65536).decode()
                status = int(answer.split(" ")[1])
                if status >= 300:
                    raise RuntimeError(answer)
                if status >= 200:
                    break
            self.to_tag = re.findall(r"^To:.*;tag=([^;\r]+)", answer, re.M)[0]
            self.ports = tuple(int(port) for port in re.findall(r"^m=audio (\d+)", answer, re.M))
            self._send(sip, self._request("ACK", 1))

    def speak(self, frames: int) -> None:
        """Send so many frames on each stream at once: a recorder goes by their RTP time."""
        for stream, port in enumerate(self.ports):
            seal = self._sealer(stream)
            with socket.socket(type=socket.SOCK_DGRAM) as rtp:
                rtp.bind(("127.0.0.1", 0))
                for frame in range(self.sent, self.sent + frames):
                    head = struct.pack("!BBHII", 0x80, 8, 1000 + frame, 8000 + frame * FRAME, 0x1000 + stream)
                    rtp.sendto(seal(head + bytes([0x55 ^ stream]) * FRAME), (self.recorder, port))
        self.sent += frames

    def end(self) -> int:
        """Hang up; return the status of the answer."""
        with socket.socket(type=socket.SOCK_DGRAM) as sip:
            sip.bind(("127.0.0.1", 0))
            sip.settimeout(10)
            self._send(sip, self._request("BYE", 2))
            return int(sip.recv(65536).split(b" ")[1])

    def _sealer(self, stream: int) -> Any:
        if not self.keys:
            return bytes
        policy = pylibsrtp.Policy(key=base64.b64decode(self.keys[stream]), ssrc_type=pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
        return pylibsrtp.Session(policy).protect

    def _send(self, sip: socket.socket, message: str) -> None:
        sip.sendto(message.encode(), (self.recorder, self.port))

    def _request(self, method: str, cseq: int, body: str = "", kind: str = "") -> str:
        tag = f";tag={self.to_tag}" if self.to_tag else ""
        lines = [
            f"{method} sip:rec@{self.recorder}:{self.port} SIP/2.0",
            f"Via: SIP/2.0/UDP 127.0.0.1:5062;rport;branch=z9hG4bK{self.number}{method}",
            "Max-Forwards: 70",
            f"From: <sip:sbc@127.0.0.1>;tag=client{self.number}",
            f"To: <sip:rec@{self.recorder}>{tag}",
            f"Call-ID: surface-{self.number}@example.org",
            f"CSeq: {cseq} {method}",
            "Contact: <sip:sbc@127.0.0.1:5062>;+sip.src",
            "Require: siprec",
            *[f"Content-Type: {kind}"] * bool(kind),
            f"Content-Length: {len(body.encode())}",
        ]
        return "\r\n".join([*(line for line in lines if method == "INVITE" or line != "Require: siprec"), "", body])

    def _body(self) -> str:
        sdp = ["v=0", "o=sbc 1 1 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0"]
        for stream in range(2):
            profile = "RTP/SAVP" if self.keys else "RTP/AVP"
            sdp += [f"m=audio {40000 + 2 * stream} {profile} 8", f"a=label:{stream + 1}", "a=sendonly"]
            if self.keys:
                sdp.append(f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{self.keys[stream]}")
        session = base64.b64encode(b"session-%08d" % self.number).decode()
        metadata = METADATA.format(session=session, number=1000 + self.number)
        parts = [("application/sdp", "\r\n".join([*sdp, ""])), ("application/rs-metadata+xml", metadata)]
        shown = [
            f"--b\r\nContent-Type: {kind}\r\nContent-Disposition: {how}\r\n\r\n{text}\r\n"
            for (kind, text), how in zip(parts, ("session;handling=required", "recording-session"), strict=True)
        ]
        return "".join([*shown, "--b--\r\n"])
