"""Decisions about the lines of an offer, as values: the policy, and the plan for each line."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from operator import attrgetter
from sys import intern
from typing import Any, Literal

from sip.sdp.description import Format, family_of
from sip.sdp.sdes import SUPPORTED, USUAL, WEAK, CryptoOffer, MasterKey, strength

KINDS = frozenset({"audio", "video", "text", "application"})
"""Media that come as RTP and can be stored. MSRP, T.38 and data channels have no RTP profile and are refused."""


MAX_SHARED = 256
"""Number of different format lists that all calls share; a node has a handful."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What may be accepted, by configuration and by the transport of the offer."""

    srtp: Literal["required", "preferred", "off"] = "required"
    """required: no plain RTP; preferred: SRTP if offered; off: optional SRTP is answered with plain RTP."""
    secure: bool = True
    """Whether the offer came over TLS."""
    sdes_without_tls: bool = True
    """Accept keys that were not sent over TLS (RFC 4568 section 8)."""
    max_lines: int = 64
    """Lines beyond this number are refused: each costs two sockets."""
    supported: frozenset[str] = SUPPORTED
    """Suites that the media side supports."""
    kinds: frozenset[str] = KINDS
    """Media to record."""
    several_keys: bool = False
    """Whether the media side can choose keys by their MKI."""
    unencrypted_srtcp: bool = False
    """Accept a line with unencrypted SRTCP."""
    dtls: bool = False
    """Whether the media side supports DTLS-SRTP (RFC 5763)."""
    reoffers: bool = False
    """Whether the client accepts our offers, so that a re-INVITE can signal a pause."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Our addresses to which a client can send media."""

    address: str
    """For lines with the IP version of the signalling, if there is one."""
    other: str = ""
    """For lines with the other IP version; empty if we cannot be reached over it."""
    behind: str = field(default="", compare=False)
    """The local address at which media to an advertised address arrive, if there is a NAT in front of us."""

    def reached(self, family: str) -> str:
        """Return the local address at which media of a line with this IP version (empty: unknown) arrive."""
        named = self.other if self.other and family not in ("", family_of(self.address)) else self.address
        return self.behind if self.behind and family_of(self.behind) == family_of(named) else named

    @property
    def families(self) -> frozenset[str]:
        """IP versions that can be offered."""
        return frozenset(map(family_of, filter(None, (self.address, self.other))))


@dataclass(slots=True)
class LinePlan:
    """The decision on one m-line: everything that the media side needs."""

    index: int
    """Index of the m-line, from 0."""
    media: str
    """audio, video, text or application, or another word as sent."""
    accepted: bool
    """Whether it is accepted and gets a port."""
    reason: str | None = None
    """Why it was refused: removed, port-zero, too-many-lines, kind, profile, formats, address (we have none with its IP
    version), dtls, dtls-fingerprint, crypto, crypto-… (what is wrong with the best of its keys), srtp-required,
    sdes-without-tls, srtp-downgrade, target."""
    label: str | None = None
    """Label (RFC 4574) as offered."""
    profile: str = ""
    """Transport as offered."""
    suite: str | None = None
    """SRTP suite in its registered spelling, None for plain RTP."""
    crypto: CryptoOffer | None = None
    """The crypto attribute that is answered."""
    other_keys: tuple[tuple[str, bytes, int], ...] = field(default=(), repr=False)
    """Suite, key and salt, and MKI length in bytes of each attribute that is not answered: until the client has our
    answer, it may use any of them."""
    formats: tuple[Format, ...] = ()
    """Payload types in the offered order; all of them are recorded."""
    direction: str = "sendrecv"
    """Effective direction of the offer."""
    answer_direction: str = "inactive"
    """Ours."""
    held: bool = False
    """Whether the peer sends nothing for now: inactive, recvonly, or the address 0.0.0.0 or ::."""
    removed: bool = False
    """Whether the line was used before and now has port 0."""
    rtcp_mux: bool = False
    """Whether RTCP comes on the RTP port (RFC 5761)."""
    source: tuple[str, int] | None = None
    """Where the peer expects media and mostly sends from; None if it gave no numeric address."""
    rtcp_source: tuple[str, int] | None = None
    """The same for RTCP."""
    setup: str | None = None
    """Offered DTLS role."""
    fingerprints: tuple[str, ...] = field(default=(), repr=False)
    """Offered certificate fingerprints."""
    tls_id: str | None = None
    """Offered a=tls-id of the DTLS association (RFC 8842)."""
    feedback: tuple[str, ...] = ()
    """Picture requests that the peer accepts: pli (RFC 4585), fir (RFC 5104)."""
    family: str = ""
    """IP4 or IP6, as the peer's address says; empty if unknown."""
    answer_setup: str | None = None
    """Our DTLS role: active (we start the handshake), passive, or holdconn (not yet); None without DTLS-SRTP."""
    own_tls_id: str | None = None
    """Our a=tls-id, if our offer named it before the peer sent theirs; None: it is derived from theirs."""
    secured: int | None = None
    """Best strength of the keys in this place of the offer so far (sip.sdp.sdes.strength); None: always plain RTP."""

    shaken: bool = False
    """Whether keys in this place of an earlier offer came from a handshake (DTLS-SRTP)."""

    def __post_init__(self) -> None:
        # thousands of concurrent calls offer the same: they share one copy of each word and list
        self.formats = _shared(self.formats)
        self.media, self.profile, self.direction = intern(self.media), intern(self.profile), intern(self.direction)
        self.label, self.setup = self.label and intern(self.label), self.setup and intern(self.setup)
        self.source = self.source and (intern(self.source[0]), self.source[1])
        self.rtcp_source = self.rtcp_source and (intern(self.rtcp_source[0]), self.rtcp_source[1])

    @property
    def protection(self) -> str | None:
        """Return the suite, "DTLS-SRTP", or None for plain RTP."""
        return "DTLS-SRTP" if self.answer_setup else self.suite

    @property
    def least(self) -> int | None:
        """Return the lowest class of suites that a re-offer may use; None if plain RTP is allowed.

        A handshake may result in keys of 128 bits. States of an earlier version do not say what was used before.
        """
        if self.secured is not None or self.protection is None:
            return self.secured
        return strength(self.suite) if self.suite else USUAL

    @property
    def handshaken(self) -> bool:
        """Return whether keys in this place come, or ever came, from a handshake."""
        return self.shaken or self.answer_setup is not None

    def refuse(self, reason: str) -> None:
        """Refuse a line that was accepted, and discard its keys."""
        self.accepted, self.reason, self.answer_direction = False, reason, "inactive"
        self.suite, self.crypto, self.other_keys = None, None, ()

    def follow(self, before: LinePlan | None) -> None:
        """Copy from the earlier plan how strong the keys in this place have been, and where they came from."""
        self.secured, self.shaken = (before.least, before.handshaken) if before else (None, False)

    def count_keys(self) -> None:
        """Let the keys of this line raise the minimum for later offers."""
        if self.suite is not None:
            self.secured = max(strength(self.suite), self.secured or WEAK)
        elif self.secured is None:
            self.secured = USUAL

    def same_association(self, before: LinePlan) -> bool:
        """Return whether a re-offer continues the previous DTLS association (RFC 8842 section 4)."""
        ours = (self.tls_id, frozenset(self.fingerprints), self.answer_setup)
        return bool(self.answer_setup) and ours == (before.tls_id, frozenset(before.fingerprints), before.answer_setup)

    def to_state(self) -> dict[str, Any]:
        """Return a form that JSON can hold, for checkpoints; it contains keys."""
        state: dict[str, Any] = dict(zip(_PLAIN_FIELDS, _plain_values(self), strict=True))
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
        """Restore what `to_state` returned, also after JSON."""
        values = dict(state)
        values["formats"] = tuple(Format(*item) for item in state["formats"])
        values["source"], values["rtcp_source"] = _pair(state["source"]), _pair(state["rtcp_source"])
        values["fingerprints"], values["feedback"] = tuple(state["fingerprints"]), tuple(state.get("feedback", ()))
        # missing in states of older versions
        others = state.get("other_keys", ())
        values["other_keys"] = tuple((intern(suite), _raw(key) or b"", mki) for suite, key, mki in others)
        if state["crypto"] is not None:
            crypto = dict(state["crypto"])
            crypto.pop("hinted", None)  # written by older versions
            more = tuple(MasterKey(_raw(key) or b"", _raw(mki), life) for key, mki, life in crypto["others"])
            crypto |= {"key": _raw(crypto["key"]) or b"", "mki": _raw(crypto["mki"]), "others": more}
            values["crypto"] = CryptoOffer(**crypto)
        return cls(**values)


@lru_cache(MAX_SHARED)
def _shared(formats: tuple[Format, ...]) -> tuple[Format, ...]:
    return formats


_PLAIN_FIELDS = tuple(item.name for item in fields(LinePlan) if item.name not in ("formats", "crypto", "other_keys"))
_PLAIN_CRYPTO = tuple(item.name for item in fields(CryptoOffer) if item.name not in ("key", "mki", "others"))
_plain_values = attrgetter(*_PLAIN_FIELDS)
# asdict makes deep copies, which is ten times slower at every checkpoint of every call.


def _text(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


def _raw(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


def _pair(value: Sequence[Any] | None) -> tuple[str, int] | None:
    return None if value is None else (str(value[0]), int(value[1]))
