"""What is decided about the lines of an offer, as values: the policy that decides and the plan of each line."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from sys import intern
from typing import Any, Literal

from sip.sdp.description import Format, family_of
from sip.sdp.sdes import SUPPORTED, USUAL, WEAK, CryptoOffer, MasterKey, strength

KINDS = frozenset({"audio", "video", "text", "application"})
"""Media that can come as RTP and so can be stored; MSRP, T.38 and data channels have no RTP profile and are refused."""


MAX_SHARED = 256
"""Different lists of formats that are kept once for all calls; a node has a handful."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What may be accepted, by configuration and by the way the offer came."""

    srtp: Literal["required", "preferred", "off"] = "required"
    """required: no plain RTP; preferred: SRTP where offered; off: an optional SRTP offer is taken as plain RTP."""
    secure: bool = True
    """The offer came over TLS."""
    sdes_without_tls: bool = True
    """Take keys that came unprotected (RFC 4568 section 8)."""
    max_lines: int = 64
    """Lines beyond are refused: each costs two sockets."""
    supported: frozenset[str] = SUPPORTED
    """Suites the media plane can do."""
    kinds: frozenset[str] = KINDS
    """Media to record."""
    several_keys: bool = False
    """The media plane can choose among keys by their identifiers."""
    unencrypted_srtcp: bool = False
    """Take a line that leaves SRTCP in the clear."""
    dtls: bool = False
    """The media plane can do DTLS-SRTP (RFC 5763)."""
    reoffers: bool = False
    """The client takes offers of ours: a pause is told to it by a re-INVITE."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Addresses of ours that a client can send media to."""

    address: str
    """For lines of the signalling's IP version, if there is one."""
    other: str = ""
    """For lines of the other IP version; empty if we cannot be reached by that."""
    behind: str = field(default="", compare=False)
    """Where what is sent to one of them arrives that a NAT in front of us has; empty without one."""

    def reached(self, family: str) -> str:
        """Give the one of this machine at which media of a line of an IP version (empty: not known) arrive."""
        named = self.other if self.other and family not in ("", family_of(self.address)) else self.address
        return self.behind if self.behind and family_of(self.behind) == family_of(named) else named

    @property
    def families(self) -> frozenset[str]:
        """IP versions that may be offered."""
        return frozenset(map(family_of, filter(None, (self.address, self.other))))


@dataclass(slots=True)
class LinePlan:
    """What to do with one m-line: everything the media plane needs."""

    index: int
    """Place of the m-line, from 0."""
    media: str
    """audio, video, text or application, or what was sent."""
    accepted: bool
    """Whether it gets a port."""
    reason: str | None = None
    """Why it was refused: removed, port-zero, too-many-lines, kind, profile, formats, address (of an IP version we have
    none of), dtls, dtls-fingerprint, crypto, crypto-… (what ails the best of its keys), srtp-required,
    sdes-without-tls, srtp-downgrade, target."""
    label: str | None = None
    """RFC 4574 label as offered."""
    profile: str = ""
    """Transport as offered."""
    suite: str | None = None
    """SRTP suite in its registered spelling, None for plain RTP."""
    crypto: CryptoOffer | None = None
    """The crypto attribute that is answered."""
    other_keys: tuple[tuple[str, bytes, int], ...] = field(default=(), repr=False)
    """Suite, key and salt, and bytes of the MKI of each attribute that is not answered: until the client has our
    answer it may send under any of them."""
    formats: tuple[Format, ...] = ()
    """Payload types in the order offered; all of them are recorded."""
    direction: str = "sendrecv"
    """The offer's effective one."""
    answer_direction: str = "inactive"
    """Ours."""
    held: bool = False
    """The peer sends nothing for now: inactive, recvonly, or the address 0.0.0.0 or ::."""
    removed: bool = False
    """The slot was used and now has port 0."""
    rtcp_mux: bool = False
    """RTCP comes on the RTP port (RFC 5761)."""
    source: tuple[str, int] | None = None
    """Where the peer expects media and mostly sends from; None if it named no numeric address."""
    rtcp_source: tuple[str, int] | None = None
    """The same for RTCP."""
    setup: str | None = None
    """DTLS role offered."""
    fingerprints: tuple[str, ...] = field(default=(), repr=False)
    """Certificate fingerprints offered."""
    tls_id: str | None = None
    """Name of the DTLS association offered (RFC 8842)."""
    feedback: tuple[str, ...] = ()
    """Requests for a picture that the peer takes: pli (RFC 4585), fir (RFC 5104)."""
    family: str = ""
    """IP4 or IP6: what the peer can reach and be reached by; empty if it does not say."""
    answer_setup: str | None = None
    """Our DTLS role: active (we begin the handshake), passive, or holdconn (not yet); None without DTLS-SRTP."""
    own_tls_id: str | None = None
    """Ours, where an offer of ours named it before the peer named theirs; None: it follows from theirs."""
    secured: int | None = None
    """How strong the keys in this place of the offer have been (sip.sdp.sdes.strength); None: always plain RTP."""

    shaken: bool = False
    """Keys in this place of an earlier offer came by a handshake (DTLS-SRTP)."""

    def __post_init__(self) -> None:
        # thousands of calls at a time offer the same: one copy of each word and list serves all of them
        self.formats = _shared(self.formats)
        self.media, self.profile, self.direction = intern(self.media), intern(self.profile), intern(self.direction)
        self.label, self.setup = self.label and intern(self.label), self.setup and intern(self.setup)
        self.source = self.source and (intern(self.source[0]), self.source[1])
        self.rtcp_source = self.rtcp_source and (intern(self.rtcp_source[0]), self.rtcp_source[1])

    @property
    def protection(self) -> str | None:
        """Give the suite, DTLS-SRTP, or None for plain RTP."""
        return "DTLS-SRTP" if self.answer_setup else self.suite

    @property
    def least(self) -> int | None:
        """Give the class of suites below which a re-offer must not go; None where it may be plain RTP.

        A handshake may give keys of 128 bits. What an earlier version left does not say what was before.
        """
        if self.secured is not None or self.protection is None:
            return self.secured
        return strength(self.suite) if self.suite else USUAL

    @property
    def handshaken(self) -> bool:
        """Tell whether keys in this place come, or ever came, by a handshake."""
        return self.shaken or self.answer_setup is not None

    def refuse(self, reason: str) -> None:
        """Refuse a line that was accepted, and forget the keys that came with it."""
        self.accepted, self.reason, self.answer_direction = False, reason, "inactive"
        self.suite, self.crypto, self.other_keys = None, None, ()

    def follow(self, before: LinePlan | None) -> None:
        """Take over how strong the keys in this place of earlier offers have been, and how they came."""
        self.secured, self.shaken = (before.least, before.handshaken) if before else (None, False)

    def count_keys(self) -> None:
        """Let the keys of this line count for what later offers must not go below."""
        if self.suite is not None:
            self.secured = max(strength(self.suite), self.secured or WEAK)
        elif self.secured is None:
            self.secured = USUAL

    def same_association(self, before: LinePlan) -> bool:
        """Tell whether a re-offer goes on with the DTLS association of before (RFC 8842 section 4)."""
        ours = (self.tls_id, frozenset(self.fingerprints), self.answer_setup)
        return bool(self.answer_setup) and ours == (before.tls_id, frozenset(before.fingerprints), before.answer_setup)

    def to_state(self) -> dict[str, Any]:
        """Give a form that JSON can carry, for checkpoints; it holds keys."""
        state: dict[str, Any] = {name: getattr(self, name) for name in _PLAIN_FIELDS}
        state["formats"] = [[f.payload_type, f.encoding, f.clock, f.channels, f.fmtp] for f in self.formats]
        crypto = self.crypto
        state["crypto"] = crypto and {
            **{name: getattr(crypto, name) for name in _PLAIN_CRYPTO},
            "key": _text(crypto.key),
            "mki": _text(crypto.mki),
            "others": [[_text(k.key), _text(k.mki), k.lifetime] for k in crypto.others],
        }
        if self.other_keys:
            state["other_keys"] = [[suite, _text(key), mki] for suite, key, mki in self.other_keys]
        return state

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> LinePlan:
        """Take back what `to_state` gave, also after a detour through JSON."""
        values = dict(state)
        values["formats"] = tuple(Format(*item) for item in state["formats"])
        values["source"], values["rtcp_source"] = _pair(state["source"]), _pair(state["rtcp_source"])
        values["fingerprints"], values["feedback"] = tuple(state["fingerprints"]), tuple(state.get("feedback", ()))
        # a version before this one did not know them
        others = state.get("other_keys", ())
        values["other_keys"] = tuple((intern(suite), _raw(key) or b"", mki) for suite, key, mki in others)
        if state["crypto"] is not None:
            crypto = dict(state["crypto"])
            crypto.pop("hinted", None)  # a version before this one wrote it
            more = tuple(MasterKey(_raw(key) or b"", _raw(mki), life) for key, mki, life in crypto["others"])
            crypto |= {"key": _raw(crypto["key"]) or b"", "mki": _raw(crypto["mki"]), "others": more}
            values["crypto"] = CryptoOffer(**crypto)
        return cls(**values)


@lru_cache(MAX_SHARED)
def _shared(formats: tuple[Format, ...]) -> tuple[Format, ...]:
    return formats


_PLAIN_FIELDS = tuple(item.name for item in fields(LinePlan) if item.name not in ("formats", "crypto", "other_keys"))
_PLAIN_CRYPTO = tuple(item.name for item in fields(CryptoOffer) if item.name not in ("key", "mki", "others"))
# asdict copies deeply: ten times slower, at every checkpoint of every call.


def _text(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


def _raw(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


def _pair(value: Sequence[Any] | None) -> tuple[str, int] | None:
    return None if value is None else (str(value[0]), int(value[1]))
