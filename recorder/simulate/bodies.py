"""What a recording client puts into its requests: SDP offer (RFC 7866 section 7.1.1) and metadata (RFC 7865)."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from xml.sax.saxutils import escape, quoteattr

from recorder.simulate.plan import CODECS, DTLS, SUITES, VIDEO, Party
from sip.errors import SipError
from sip.sdp.description import MediaLine, SessionDescription
from sip.sdp.writer import attribute, crypto, format_lines, media_line, session_lines, write

METADATA_TYPE = "application/rs-metadata+xml"
_CRYPTO = re.compile(r"(\d+)\s+(\S+)\s+inline:([A-Za-z0-9+/=]+)")


@dataclass(slots=True)
class Line:
    """One m-line of ours."""

    label: str
    """RFC 4574 label."""
    codec: str
    """PCMA, PCMU, G722, opus or VP8."""
    port: int
    """Own RTP port; RTCP is the next one."""
    suite: str | None
    """SRTP suite or None."""
    key: bytes = field(default=b"", repr=False)
    """Own master key and salt."""
    fingerprint: str = ""
    """Own certificate if the keys come by DTLS-SRTP."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where the recorder wants a stream, as its answer says."""

    host: str
    """Numeric address."""
    port: int
    """RTP port."""
    rtcp_port: int
    """RTCP port; the RTP port if multiplexed."""
    key: bytes = field(default=b"", repr=False)
    """Key of the recorder's own RTCP, empty for plain."""
    fingerprints: tuple[str, ...] = ()
    """The recorder's certificates, for DTLS-SRTP."""
    setup: str = ""
    """Its role in the handshake: active starts it."""


def offer(
    lines: Sequence[Line],
    address: str,
    session: int,
    version: int,
    direction: str,
    *,
    mux: bool,
    setup: str = "actpass",
) -> bytes:
    """Write an SDP offer, or an answer to the recorder's; `direction` is sendonly, or inactive while on hold.

    `setup` is our DTLS role, which an answer must name.
    """
    out = session_lines(address, session, version, user="recorder-simulate")
    for line in lines:
        kind, ptime = ("video", []) if line.codec == VIDEO else ("audio", [attribute("ptime", 20)])
        form = CODECS[line.codec].format
        out.append(media_line(kind, line.port, _profile(line), [form.payload_type]))
        out += [*format_lines(form), *ptime, attribute("label", line.label), attribute(direction)]
        if line.suite == DTLS:
            out += [attribute("setup", setup), attribute("fingerprint", line.fingerprint)]
        elif line.suite:
            out.append(crypto(line.suite, line.key))
        if mux:
            out.append(attribute("rtcp-mux"))
    return write(out)


def _profile(line: Line) -> str:
    if line.suite == DTLS:
        return "UDP/TLS/RTP/SAVPF"
    return "RTP/SAVP" if line.suite else "RTP/AVP"


def read_answer(body: bytes, lines: Sequence[Line], direction: str) -> tuple[list[Target | None], list[str]]:
    """Parse the recorder's answer: where each stream goes (None: refused), and which rules it breaks."""
    try:
        answer = SessionDescription.parse(body)
    except SipError:
        return [None] * len(lines), ["The answer has no SDP."]
    faults = []
    if len(answer.media) != len(lines):
        faults.append(f"The answer has {len(answer.media)} m-lines for {len(lines)} offered (RFC 3264 section 6).")
    targets: list[Target | None] = []
    for i, line in enumerate(lines):
        media = answer.media[i] if i < len(answer.media) else None
        target = _target(media, line) if media else None
        targets.append(target)
        if media and target:
            faults += _judge(media, line, direction)
    return targets, faults


def asks_for_silence(body: bytes) -> bool:
    """Return whether an offer of the recorder asks us to send nothing (RFC 3264 section 8.4)."""
    try:
        media = SessionDescription.parse(body).media
    except SipError:
        return False
    return bool(media) and all(line.port == 0 or line.direction in ("inactive", "sendonly") for line in media)


def _target(media: MediaLine, line: Line) -> Target | None:
    host = media.connection.ip if media.connection else None
    if not media.port or not host:
        return None
    rtcp = (media.attribute("rtcp") or "").split(" ")[0]
    apart = int(rtcp) if rtcp.isdecimal() else media.port + 1
    mux = media.attribute("rtcp-mux") is not None
    ports = media.port, media.port if mux else apart
    return Target(host, *ports, _key(media, line), media.fingerprints, (media.setup or "").lower())


def _key(media: MediaLine, line: Line) -> bytes:
    found = _CRYPTO.match(media.attribute("crypto") or "") if line.suite else None
    try:
        key = base64.b64decode(found[3] + "==") if found else b""
    except binascii.Error:
        return b""
    return key if len(key) == SUITES.get(line.suite or "") else b""  # without it only its reports are unreadable


def _judge(media: MediaLine, line: Line, direction: str) -> list[str]:
    """List what breaks RFC 3264, RFC 4568 or RFC 7866 in one answer line."""
    faults = []
    allowed = ("inactive",) if direction == "inactive" else ("recvonly", "inactive")
    if media.direction not in allowed:
        faults.append(f"An answer line is {media.direction} where {direction} was offered (RFC 3264 section 6.1).")
    crypto = [_CRYPTO.match(value) for value in media.all_attributes("crypto")]
    if line.suite == DTLS:
        if media.setup not in ("active", "passive") or not media.fingerprints:
            faults.append("An answer line lacks its role or its fingerprint (RFC 5763 section 5).")
    elif line.suite and [found and (found[1], found[2].upper()) for found in crypto] != [("1", line.suite)]:
        faults.append(
            "An answer line does not hold exactly the offered crypto line's tag and suite (RFC 4568 section 5.1.2)."
        )
    elif line.suite and not _key(media, line):
        faults.append("An answer line's key has the wrong length for its suite (RFC 4568 section 6.1).")
    if media.label != line.label:
        faults.append("An answer line does not echo its a=label.")
    if str(CODECS[line.codec].format.payload_type) not in media.payloads:
        faults.append("An answer line lacks the offered payload type (RFC 3264 section 6.1).")
    return faults


def identifier() -> str:
    """Return an id of RFC 7865 section 6.10: 16 random bytes in base64."""
    return base64.b64encode(secrets.token_bytes(16)).decode()


@dataclass(slots=True)
class Picture:
    """The call as its metadata describe it."""

    parties: Sequence[Party]
    """Participants, one for each audio stream."""
    labels: Sequence[str]
    """Labels of the streams."""
    began: str
    """Start of the session, RFC 3339."""
    session: str = field(default_factory=identifier)
    """session_id."""
    group: str = field(default_factory=identifier)
    """group_id."""
    people: list[str] = field(default_factory=list)
    """participant_id of each party."""
    tracks: list[str] = field(default_factory=list)
    """stream_id of each stream."""
    senders: list[int] = field(default_factory=list)
    """Which of the parties sends each stream; by default they take turns."""

    def __post_init__(self) -> None:
        self.people = [identifier() for _ in self.parties]
        self.tracks = [identifier() for _ in self.labels]
        self.senders = self.senders or [i % len(self.parties) for i in range(len(self.labels))]

    def rename_last(self) -> None:
        """Change the name of the last party."""
        *others, last = self.parties
        self.parties = [*others, replace(last, name=f"{last.name} (updated)".strip())]

    def swap(self) -> None:
        """Swap the first two participants."""
        self.senders = [1 - party if party < 2 else party for party in self.senders]

    def document(self, *, held: bool = False) -> bytes:
        """Write the metadata: complete, or while held a partial update in which nobody sends (RFC 7865 section 6)."""
        inner = (
            self._session()
            + "".join(map(self._person, range(len(self.parties))))
            + "".join(map(self._stream, range(len(self.labels))))
        )
        inner += f"<sessionrecordingassoc session_id={quoteattr(self.session)}>{self._since()}</sessionrecordingassoc>"
        inner += "".join(self._association(i, held) for i in range(len(self.parties)))
        mode = "partial" if held else "complete"
        head = '<?xml version="1.0" encoding="UTF-8"?>\r\n<recording xmlns="urn:ietf:params:xml:ns:recording:1">'
        return f"{head}<datamode>{mode}</datamode>{inner}</recording>\r\n".encode()

    def _session(self) -> str:
        inner = f"<group-ref>{self.group}</group-ref><start-time>{self.began}</start-time>"
        group = f"<group group_id={quoteattr(self.group)}>{self._since()}</group>"
        return f"{group}<session session_id={quoteattr(self.session)}>{inner}</session>"

    def _since(self) -> str:
        return f"<associate-time>{self.began}</associate-time>"

    def _person(self, i: int) -> str:
        party, who = self.parties[i], f"participant_id={quoteattr(self.people[i])}"
        name = f'<name xml:lang="en">{escape(party.name)}</name>' if party.name else ""
        person = f"<participant {who}><nameID aor={quoteattr(party.aor)}>{name}</nameID></participant>"
        session = f"session_id={quoteattr(self.session)}"
        return f"{person}<participantsessionassoc {who} {session}>{self._since()}</participantsessionassoc>"

    def _stream(self, i: int) -> str:
        ids = f"stream_id={quoteattr(self.tracks[i])} session_id={quoteattr(self.session)}"
        return f"<stream {ids}><label>{escape(self.labels[i])}</label></stream>"

    def _association(self, i: int, held: bool) -> str:
        of = list(zip(self.tracks, self.senders, strict=True))
        sent = "".join(f"<send>{track}</send>" for track, party in of if party == i)
        heard = "".join(f"<recv>{track}</recv>" for track, party in of if party != i)
        inner = "" if held else sent + heard
        return f"<participantstreamassoc participant_id={quoteattr(self.people[i])}>{inner}</participantstreamassoc>"


def combine(sdp: bytes | None, metadata: bytes | None) -> tuple[str, str | None, bytes]:
    """Return Content-Type, Content-Disposition and body of a request with these parts."""
    if sdp is not None and metadata is not None:
        mark = f"recorder-{secrets.token_hex(8)}"
        part = f"\r\nContent-Type: {METADATA_TYPE}\r\nContent-Disposition: recording-session\r\n\r\n".encode()
        dash = f"--{mark}".encode()
        body = (
            dash
            + b"\r\nContent-Type: application/sdp\r\n\r\n"
            + sdp
            + b"\r\n"
            + dash
            + part
            + metadata
            + b"\r\n"
            + dash
            + b"--\r\n"
        )
        return f'multipart/mixed;boundary="{mark}"', None, body
    if metadata is not None:
        return METADATA_TYPE, "recording-session", metadata
    return ("application/sdp", None, sdp) if sdp is not None else ("", None, b"")
