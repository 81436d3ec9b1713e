"""What a run should do, checked before anything is sent."""

from __future__ import annotations

import ipaddress
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from recorder.errors import RecorderError
from sip.errors import SipError
from sip.message.uri import Uri

TICK = 0.02
"""Seconds of audio in a packet."""
SUITES = {"AES_CM_128_HMAC_SHA1_80": 30, "AES_CM_128_HMAC_SHA1_32": 30, "AEAD_AES_128_GCM": 28, "AEAD_AES_256_GCM": 44}
"""Bytes of master key and salt of the suites to choose from (RFC 4568 section 6.2, RFC 7714 section 14.2)."""
DTLS = "DTLS-SRTP"
"""Keys by a handshake on the media ports (RFC 5763); `dtls` on the command line."""


class Codec(NamedTuple):
    """How one codec is offered and sent."""

    payload_type: int
    """As offered."""
    rtpmap: str
    """Encoding, RTP clock and channels as in a=rtpmap (RFC 8866 section 6.6)."""
    rate: int
    """Samples a second; G.722 has 16000 though its RTP clock counts 8000."""
    step: int
    """RTP clock units a packet."""
    fmtp: str = ""
    """Value of a=fmtp."""

    @property
    def clock(self) -> int:
        """RTP clock units a second."""
        return int(self.rtpmap.split("/")[1])


CODECS = {
    "PCMU": Codec(0, "PCMU/8000", 8000, 160),
    "PCMA": Codec(8, "PCMA/8000", 8000, 160),
    "G722": Codec(9, "G722/8000", 16000, 160),
    "opus": Codec(96, "opus/48000/2", 48000, 960),
    "VP8": Codec(97, "VP8/90000", 90000, 1800),
    "H264": Codec(98, "H264/90000", 90000, 1800, "packetization-mode=1;profile-level-id=42e01f"),
}
VIDEO = ("VP8", "H264")
"""Those of CODECS that are video."""
CHOICES = {"g711": ("PCMA", "PCMU"), "pcma": ("PCMA",), "pcmu": ("PCMU",), "g722": ("G722",), "opus": ("opus",)}
"""Codec words of the command line; streams use the names in turn."""
TRANSPORTS = ("udp", "tcp", "tls")
KINDS = ("coded", "tone")
BATCHED_FROM = 50
"""Calls of a run from which packets are built and sent many at once: one by one they cost up to four times as much."""
MAX_STREAMS = 8
MAX_CALLS = 20_000
LONGEST_TUNE = 30.0
"""Seconds until a voice repeats; keeps encoding short and memory small."""


class PlanError(RecorderError):
    """An impossible request; the message says what is possible."""


@dataclass(frozen=True, slots=True)
class Party:
    """A participant of a call."""

    name: str
    """As shown; may be empty."""
    aor: str
    """Address of record, a sip or tel URI."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One run: a number of calls of equal length to a recorder, or to the first of several that takes a call."""

    to: str
    """SIP URI of the recorder; its parameter `transport` counts unless `transport` is given."""
    calls: int = 1
    """How many calls in all."""
    seconds: float = 10.0
    """Length of a call from its answer to its end, holds included."""
    srtp: str = "AES_CM_128_HMAC_SHA1_80"
    """A suite, `all` (calls take turns through the suites), `dtls` (keys by DTLS-SRTP) or `none` (plain RTP)."""
    transport: str | None = None
    """udp, tcp or tls; by default what the URI says, else tls for sips, else udp."""
    codec: str = "g711"
    """One of CHOICES."""
    rate: float = 50.0
    """New calls a second."""
    hold: float = 0.0
    """Seconds that each call is held in its middle; 0 is never."""
    update: bool = False
    """Send an UPDATE with metadata (the last participant's name changes) at a quarter of each call."""
    streams: int = 2
    """Audio streams per call, one participant each."""
    audio_kind: str = "coded"
    """`coded` (every frame can be identified; G.711 only) or `tone` (for listening)."""
    audio: Path | None = None
    """Folder for what was sent, as one WAV file per stream."""
    parties: tuple[tuple[Party, ...], ...] = ()
    """Participants, by call; calls beyond its end get invented people."""
    source: str | None = None
    """Own address for signalling and media; by default that of the route to the recorder."""
    ca: Path | None = None
    """Certificate authorities for the recorder; by default the system's."""
    insecure: bool = False
    """Accept any certificate of the recorder."""
    certificate: Path | None = None
    """Own certificate for TLS, if the recorder asks for one."""
    private_key: Path | None = None
    """Its key, if not in the same file."""
    rtcp_mux: bool = False
    """Offer RTP and RTCP on one port (RFC 5761)."""
    video: bool = False
    """Offer a video stream for each participant, after the audio streams."""
    video_codec: str = "vp8"
    """`vp8` or `h264`."""
    swap_speakers: bool = False
    """Report at three quarters of each call that the first two participants swap: each is said to send the other's
    stream.
    """
    setup_timeout: float = 32.0
    """Seconds to wait for an answer (RFC 3261 timer B)."""
    run: int | None = None
    """Number in the coded audio; by default random."""
    others: tuple[str, ...] = ()
    """SIP URIs of more recorders, tried in their order where the one before answers 503 or not at all."""

    @property
    def each(self) -> tuple[Plan, ...]:
        """The same plan for each recorder alone, in the order in which a call tries them."""
        return tuple(replace(self, to=uri, others=()) for uri in (self.to, *self.others))

    @property
    def target(self) -> Uri:
        """Return the recorder's URI; raise PlanError."""
        try:
            uri = Uri.parse(self.to)
        except SipError:
            raise PlanError(
                f"{self.to!r} is no SIP URI. Write for example sip:rec@192.0.2.10:5061;transport=tls."
            ) from None
        if uri.scheme not in ("sip", "sips") or not uri.host:
            raise PlanError(f"{self.to!r} is no SIP URI. Write for example sip:rec@192.0.2.10:5061;transport=tls.")
        return uri

    @property
    def carrier(self) -> str:
        """The transport to use."""
        uri = self.target
        return (self.transport or uri.param("transport") or ("tls" if uri.scheme == "sips" else "udp")).lower()

    @property
    def port(self) -> int:
        """Port of the recorder (RFC 3261 section 19.1.2)."""
        return self.target.port or (5061 if self.carrier == "tls" else 5060)

    @property
    def coded(self) -> bool:
        """Whether frames of the audio can be identified; only G.711 keeps each sign bit."""
        return self.audio_kind == "coded" and self.codec in ("g711", "pcma", "pcmu")

    @property
    def batched(self) -> bool:
        """Whether this is load: so many calls that their packets are built and sent many at once."""
        return self.calls >= BATCHED_FROM

    @property
    def lines(self) -> int:
        """How many m-lines a call has."""
        return 2 * self.streams if self.video else self.streams

    def codec_of(self, stream: int) -> str:
        """Return the codec of a stream; video streams follow the audio streams."""
        if self.video and stream >= self.streams:
            return self.video_codec.upper()
        names = CHOICES[self.codec]
        return names[stream % len(names)]

    def suite_of(self, call: int) -> str | None:
        """Return the SRTP suite of a call, or DTLS-SRTP; None for plain RTP."""
        if self.srtp in ("none", "dtls"):
            return None if self.srtp == "none" else DTLS
        return list(SUITES)[call % len(SUITES)] if self.srtp == "all" else self.srtp

    def parties_of(self, call: int) -> tuple[Party, ...]:
        """Return the participants of a call, one for each stream."""
        given = self.parties[call] if call < len(self.parties) else ()
        return tuple(given[i] if i < len(given) else _invented(call, i) for i in range(self.streams))

    def check(self) -> None:
        """Raise PlanError for an impossible plan."""
        for one in self.each:
            _ = one.target
            _one_of("transport", one.carrier, TRANSPORTS)
        _one_of("srtp", self.srtp, ("none", "all", "dtls", *SUITES))
        _one_of("codec", self.codec, tuple(CHOICES))
        _one_of("video-codec", self.video_codec, tuple(name.lower() for name in VIDEO))
        _one_of("audio-kind", self.audio_kind, KINDS)
        _between("calls", self.calls, 1, MAX_CALLS)
        _between("streams", self.streams, 1, MAX_STREAMS)
        _between("duration", self.seconds, 0.1, 86_400)
        _between("rate", self.rate, 0.01, 10_000)
        _between("hold", self.hold, 0, self.seconds)
        if self.swap_speakers and self.streams < 2:
            raise PlanError("Speakers can change places only if there are two. Set streams to 2 or more.")
        if self.source is not None:
            _address(self.source)


def _invented(call: int, stream: int) -> Party:
    number = f"+4930{5550000 + call % 1_000_000:07d}{stream}"
    return Party(f"{('Caller', 'Agent')[stream % 2]} {call + 1}.{stream + 1}", f"sip:{number}@pbx.example")


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise PlanError(f"{name} cannot be {value!r}. Choose one of {', '.join(choices)}.")


def _between(name: str, value: float, low: float, high: float) -> None:
    if not (math.isfinite(value) and low <= value <= high):
        raise PlanError(f"{name} cannot be {value:g}. It lies between {low:g} and {high:g}.")


def _address(text: str) -> None:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise PlanError(f"source cannot be {text!r}. Write an address of this machine.") from None
