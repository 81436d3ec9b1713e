"""What a recording client puts into its requests: SDP offer (RFC 7866 section 7.1.1) and metadata (RFC 7865)."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from itertools import pairwise
from xml.sax.saxutils import escape, quoteattr

from recorder.simulate.plan import CODECS, DTLS, SUITES, VIDEO, Party

METADATA_TYPE = "application/rs-metadata+xml"
_CRYPTO = re.compile(r"(\d+)\s+(\S+)\s+inline:([A-Za-z0-9+/=]+)")


@dataclass(slots=True)
class Line:
    """One m-line of ours."""

    label: str
    """RFC 4574 label."""
    codec: str
    """PCMA, PCMU, G722, opus, VP8 or H264."""
    port: int
    """Own RTP port; RTCP is the next one."""
    suite: str | None
    """SRTP suite or None."""
    key: bytes = field(default=b"", repr=False)
    """Own master key and salt."""
    fingerprint: str = ""
    """Own certificate if the keys come by DTLS-SRTP."""

    @property
    def kind(self) -> str:
        """audio or video."""
        return "video" if self.codec in VIDEO else "audio"


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
    own = f"IN IP{6 if ':' in address else 4} {address}"
    out = ["v=0", f"o=recorder-simulate {session} {version} {own}", "s=-", f"c={own}", "t=0 0"]
    for line in lines:
        codec = CODECS[line.codec]
        out += [f"m={line.kind} {line.port} {_profile(line)} {codec.payload_type}"]
        out += [f"a=rtpmap:{codec.payload_type} {codec.rtpmap}"]
        out += [f"a=fmtp:{codec.payload_type} {codec.fmtp}"] if codec.fmtp else []
        out += ["a=ptime:20"] if line.kind == "audio" else []
        out += [f"a=label:{line.label}", f"a={direction}"]
        if line.suite == DTLS:
            out += [f"a=setup:{setup}", f"a=fingerprint:{line.fingerprint}"]
        elif line.suite:
            out += [f"a=crypto:1 {line.suite} inline:{base64.b64encode(line.key).decode()}"]
        out += ["a=rtcp-mux"] if mux else []
    return "\r\n".join([*out, ""]).encode()


def _profile(line: Line) -> str:
    if line.suite == DTLS:
        return "UDP/TLS/RTP/SAVPF"
    return "RTP/SAVP" if line.suite else "RTP/AVP"


class _Section:
    """One m-line of a description with what belongs to it (RFC 8866 section 5)."""

    def __init__(self, session: Sequence[str], lines: Sequence[str]) -> None:
        words = [*lines[0][2:].split(), "", "", ""]
        self.kind, self.profile, self.payloads = words[0], words[2], words[3:]
        self.port = _port(words[1])
        self._own, self._session = lines[1:], session

    @property
    def address(self) -> str:
        """The numeric address of its connection line, or of the session's; empty if there is none."""
        found = [line.split()[-1] for line in (*self._own, *self._session) if line.startswith("c=IN IP")]
        try:
            return str(ip_address(found[0])) if found else ""
        except ValueError:
            return ""

    def all(self, name: str) -> list[str]:
        """Return the values of an attribute; the session's where it has none."""
        for lines in (self._own, self._session):
            if found := [line for line in lines if line == f"a={name}" or line.startswith(f"a={name}:")]:
                return [line.partition(":")[2].strip() for line in found]
        return []

    def first(self, name: str) -> str | None:
        """Return the first value of an attribute."""
        return next(iter(self.all(name)), None)

    @property
    def direction(self) -> str:
        """Its direction; sendrecv if it names none (RFC 8866 section 6.7)."""
        ways = ("sendrecv", "sendonly", "recvonly", "inactive")
        found = [line[2:] for lines in (self._own, self._session) for line in lines if line[2:] in ways]
        return found[0] if found else "sendrecv"


def _port(text: str) -> int:
    """Return a port that has a next one, 0 if this is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) < 65_535 else 0


def _sections(body: bytes) -> list[_Section] | None:
    """Cut a description at its m-lines; None if it is none."""
    lines = body.decode("utf-8", "replace").splitlines()
    if lines[:1] != ["v=0"]:
        return None
    starts = [*(i for i, line in enumerate(lines) if line.startswith("m=")), len(lines)]
    return [_Section(lines[: starts[0]], lines[begin:end]) for begin, end in pairwise(starts)]


def read_answer(
    body: bytes, lines: Sequence[Line], direction: str, *, mux: bool = False
) -> tuple[list[Target | None], list[str]]:
    """Parse the recorder's answer: where each stream goes (None: refused), and which rules it breaks."""
    answer = _sections(body)
    if answer is None:
        return [None] * len(lines), ["The answer has no SDP."]
    faults = []
    if len(answer) != len(lines):
        faults.append(f"The answer has {len(answer)} m-lines for {len(lines)} offered (RFC 3264 section 6).")
    targets: list[Target | None] = []
    for i, line in enumerate(lines):
        media = answer[i] if i < len(answer) else None
        target = _target(media, line) if media else None
        if media and target:
            faults += _judge(media, line, direction, mux=mux)
            if any(other and (other.host, other.port) == (target.host, target.port) for other in targets):
                faults.append("Two answer lines name the same port (RFC 8866 section 5.14).")
        else:
            faults.append(f"The recorder refuses the {line.kind} of stream {line.label}.")
        targets.append(target)
    return targets, faults


def asks_for_silence(body: bytes) -> bool:
    """Return whether an offer of the recorder asks us to send nothing (RFC 3264 section 8.4)."""
    media = _sections(body)
    return bool(media) and all(line.port == 0 or line.direction in ("inactive", "sendonly") for line in media or ())


def _target(media: _Section, line: Line) -> Target | None:
    if not media.port or not media.address:
        return None
    apart = _port((media.first("rtcp") or "").split(" ")[0]) or media.port + 1
    ports = media.port, media.port if media.first("rtcp-mux") is not None else apart
    fingerprints = tuple(media.all("fingerprint"))
    return Target(media.address, *ports, _key(media, line), fingerprints, (media.first("setup") or "").lower())


def _key(media: _Section, line: Line) -> bytes:
    found = _CRYPTO.match(media.first("crypto") or "") if line.suite else None
    try:
        key = base64.b64decode(found[3] + "==") if found else b""
    except binascii.Error:
        return b""
    return key if len(key) == SUITES.get(line.suite or "") else b""  # without it only its reports are unreadable


def _judge(media: _Section, line: Line, direction: str, *, mux: bool) -> list[str]:
    """List what breaks RFC 3264, RFC 4568, RFC 5761 or RFC 7866 in one answer line."""
    faults = _of_keys(media, line)
    allowed = ("inactive",) if direction == "inactive" else ("recvonly", "inactive")
    if media.direction not in allowed:
        faults.append(f"An answer line is {media.direction} where {direction} was offered (RFC 3264 section 6.1).")
    if (media.kind, media.profile) != (line.kind, _profile(line)):
        faults.append(f"An answer line is {media.kind} {media.profile} for {line.kind} {_profile(line)} (RFC 3264).")
    if media.first("label") != line.label:
        faults.append("An answer line does not echo its a=label.")
    if media.first("rtcp-mux") is not None and not mux:
        faults.append("An answer line has a=rtcp-mux, which was not offered (RFC 5761 section 5.1.1).")
    codec = CODECS[line.codec]
    told = [value.lower().split() for value in media.all("rtpmap") if value.startswith(f"{codec.payload_type} ")]
    if str(codec.payload_type) not in media.payloads:
        faults.append("An answer line lacks the offered payload type (RFC 3264 section 6.1).")
    elif told and told[0][1].split("/")[:2] != codec.rtpmap.lower().split("/")[:2]:
        faults.append("An answer line gives the offered payload type to another codec (RFC 3264 section 6.1).")
    return faults


def _of_keys(media: _Section, line: Line) -> list[str]:
    """List what is wrong with the keys of an answer line."""
    crypto = [_CRYPTO.match(value) for value in media.all("crypto")]
    if line.suite == DTLS:
        well = media.first("setup") in ("active", "passive") and media.all("fingerprint") and not crypto
        return [] if well else ["An answer line lacks its role or its fingerprint (RFC 5763 section 5)."]
    if line.suite and [found and (found[1], found[2].upper()) for found in crypto] != [("1", line.suite)]:
        return [
            "An answer line does not hold exactly the offered crypto line's tag and suite (RFC 4568 section 5.1.2)."
        ]
    if line.suite and not _key(media, line):
        return ["An answer line's key has the wrong length for its suite (RFC 4568 section 6.1)."]
    return ["An answer line has keys, which were not offered."] if crypto and not line.suite else []


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
