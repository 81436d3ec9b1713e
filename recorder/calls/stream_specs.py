"""Turn what was negotiated into what a media worker needs to know; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from media.spec import Allowed, Dtls, StreamSpec, pack_ip
from recorder.config.model import Customer
from recorder.session.commands import DtlsKeys, StreamPlan
from recorder.session.session import Recording
from recorder.session.streams import paused_since
from recorder.workers import codec, messages
from recorder.workers.messages import Key, NewCall, Part
from sip.sdp.description import Format
from sip.sdp.sdes import CryptoOffer
from storage.vault.vault import Draft, NewPart

MAX_CUSTOMERS = 1_000
"""Customers whose networks are cached as text, not encoded for each stream."""


def stream_spec(
    plan: StreamPlan, customer: Customer, identity: bytes = b"", source: str | None = None, *, reached: bool = True
) -> StreamSpec:
    """Return the worker's view of one stream; `identity` is our certificate for DTLS-SRTP and its key.

    `source`: where the first INVITE came from; `reached`: its client is known to have our answer.
    """
    line, crypto, networks = plan.line, plan.line.crypto, _written(customer.sources)
    spec = StreamSpec(
        stream=plan.number,
        suite=line.suite,
        key=crypto.key if crypto else b"",
        mki=len(crypto.mki) if crypto and crypto.mki else 0,
        others=_others(crypto) if crypto else (),
        alternates=line.other_keys,
        own_key=plan.own_key,
        payloads=tuple([_payload(f) for f in line.formats]),
        source=line.source,
        here=plan.here,
        networks=networks,
        rtcp_source=line.rtcp_source,
        rtcp_mux=line.rtcp_mux,
        held=plan.held,
        continuous=line.media == "audio",
        learn=customer.learn_source,
        feedback=line.feedback,
        since=_ns(plan.expected),
        reached=reached,
        known=line.rtcp_source is None or pack_ip(line.rtcp_source[0]) in Allowed(source, networks),
    )
    return spec if plan.keys is None else _with_dtls(spec, plan, plan.keys, identity, customer.pause_by_reinvite)


def _others(crypto: CryptoOffer) -> tuple[bytes, ...]:
    """Return the additional keys of a line."""
    return tuple([other.key for other in crypto.others])


def _with_dtls(spec: StreamSpec, plan: StreamPlan, keys: DtlsKeys, identity: bytes, renews: bool) -> StreamSpec:
    """Add the known keys, and the handshakes that are still to be made (RFC 5764 section 3)."""
    line, rtp, rtcp = plan.line, keys.rtp, None if plan.line.rtcp_mux else keys.rtcp
    own = rtp if line.rtcp_mux else rtcp
    waits = line.answer_setup == "holdconn"  # the peer does not request an association yet
    return replace(
        spec,
        dtls=Dtls(
            line.fingerprints,
            line.tls_id,
            line.answer_setup == "active",
            identity,
            rtp=not waits and (keys.stale or rtp is None),
            rtcp=not waits and not line.rtcp_mux and (keys.stale or rtcp is None),
            renews=renews,
        ),
        suite=rtp.suite if rtp else None,
        key=rtp.theirs if rtp else b"",
        own_key=own.ours if own else b"",
        rtcp_suite=rtcp.suite if rtcp else None,
        rtcp_key=rtcp.theirs if rtcp else b"",
    )


@lru_cache(MAX_CUSTOMERS)
def _written(networks: tuple[IPv4Network | IPv6Network, ...]) -> tuple[str, ...]:
    return tuple(str(network) for network in networks)


def _ns(at: datetime | None) -> int:
    return int(at.timestamp() * 1000) * 1_000_000 if at else 0  # milliseconds, the precision of a checkpoint


def _payload(entry: Format) -> tuple[int, str, int]:
    return (entry.payload_type, entry.encoding or "", entry.clock or 8000)


def stream_specs(
    plans: Sequence[StreamPlan],
    customer: Customer,
    identity: bytes = b"",
    source: str | None = None,
    *,
    reached: bool = True,
) -> tuple[StreamSpec, ...]:
    """Return the worker's view of all streams."""
    return tuple(stream_spec(p, customer, identity, source, reached=reached) for p in plans)


def fits(specs: tuple[StreamSpec, ...]) -> bool:
    """Tell whether the messages about these streams fit, now and when another worker has to continue the call."""
    try:
        return len(codec.encode(messages.Change("", specs, (), (), 0))) <= codec.MAX_OFFERED
    except codec.WireError:
        return False


def part_of(name: str, part: NewPart | Draft) -> Part:
    """Return a new media part with its secret, which opens nothing else."""
    return Part(name, part.secret.key, part.secret.prefix, part.secret.segment)


def new_call(recording: Recording, part: Part, specs: tuple[StreamSpec, ...], spool_key: bytes) -> NewCall:
    """Return everything a worker needs to know about a call."""
    return NewCall(recording.id, part, specs, spool_key, _lasting(recording))


def _lasting(recording: Recording) -> tuple[tuple[int, None], ...]:
    """Return the current pause, from when it was requested; a worker may not know of it yet."""
    if not recording.paused:
        return ()
    return ((_ns(paused_since(recording.streams)), None),)


def former_keys(recording: Recording, known: Iterable[Key]) -> tuple[Key, ...]:
    """Return the known keys that are in no line of the newest offer, so that nothing else contains them.

    Until a worker has applied a re-offer, packets under the earlier keys wait in the sockets, which outlive this
    process.
    """
    lines = [(s.number, s.line.suite, s.line.crypto) for s in recording.streams if s.line.crypto]
    newest = {(n, suite, key, own.mki_length) for n, suite, own in lines for key in (own.key, *_others(own))}
    newest |= {(s.number, *key) for s in recording.streams for key in s.line.other_keys}
    return tuple(key for key in known if key not in newest)


def keys_to_state(keys: Iterable[Key]) -> list[list[Any]]:
    """Return keys for a checkpoint."""
    return [[stream, suite, key.hex(), mki] for stream, suite, key, mki in keys]


def keys_from_state(state: Iterable[Sequence[Any]]) -> tuple[Key, ...]:
    """Read the keys of a checkpoint back."""
    return tuple((int(stream), str(suite), bytes.fromhex(key), int(mki)) for stream, suite, key, mki in state)
