"""From what was negotiated to what a media worker has to know; pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network

from media.spec import StreamSpec
from recorder.commands import StreamPlan
from recorder.settings import Customer
from recorder.wire import NewCall, Part
from sip.sdp import Format
from storage.vault import NewPart

MAX_CUSTOMERS = 1_000
"""Customers whose networks are written out once, not for each stream."""


def stream_spec(plan: StreamPlan, customer: Customer) -> StreamSpec:
    """Return the worker's view of one stream."""
    line, crypto = plan.line, plan.line.crypto
    return StreamSpec(
        stream=plan.number,
        suite=line.suite,
        key=crypto.key if crypto else b"",
        mki=len(crypto.mki) if crypto and crypto.mki else 0,
        own_key=plan.own_key,
        payloads=tuple(_payload(f) for f in line.formats),
        source=line.source,
        networks=_written(customer.sources),
        rtcp_source=line.rtcp_source,
        rtcp_mux=line.rtcp_mux,
        held=plan.held,
    )


@lru_cache(MAX_CUSTOMERS)
def _written(networks: tuple[IPv4Network | IPv6Network, ...]) -> tuple[str, ...]:
    return tuple(str(network) for network in networks)


def _payload(entry: Format) -> tuple[int, str, int]:
    return (entry.payload_type, entry.encoding or "", entry.clock or 8000)


def stream_specs(plans: Sequence[StreamPlan], customer: Customer) -> tuple[StreamSpec, ...]:
    """Return the worker's view of all streams."""
    return tuple(stream_spec(p, customer) for p in plans)


def part_of(name: str, part: NewPart) -> Part:
    """Return a new media part with its secret, which opens nothing else."""
    return Part(name, part.secret.key, part.secret.prefix, part.secret.segment)


def new_call(call: str, part: Part, specs: tuple[StreamSpec, ...]) -> NewCall:
    """Return everything a worker has to know of a call."""
    return NewCall(call, part, specs)
