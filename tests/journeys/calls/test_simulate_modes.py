"""`recorder simulate` in every mode, over loopback and between two hosts: as planned, and every packet is recorded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from recorder.simulate.plan import Plan
from recorder.simulate.report import CallReport
from tests.daemon.api import Api, running
from tests.daemon.coded_calls import place
from tests.daemon.network import CLIENT, SERVER, NetworkFaults, lossy

KEYS: tuple[dict[str, Any], ...] = (
    {"srtp": "AES_CM_128_HMAC_SHA1_80"},
    {"srtp": "AEAD_AES_256_GCM"},
    {"srtp": "dtls"},
    {"srtp": "dtls", "rtcp_mux": True},
    {"srtp": "none"},
)
MEDIA: tuple[dict[str, Any], ...] = (
    {"codec": "g711"},
    {"codec": "opus"},
    {"codec": "g711", "video": True},
    {"codec": "opus", "video": True, "video_codec": "h264"},
)
TRANSPORTS = ("udp", "tcp", "tls")
SECONDS = 1.5
PLACE: dict[str, Any] = {"udp": 5060, "tls": 5061, "api": 8443, "media": 20_000, "ports": 600}


def modes(it: Api) -> Iterator[Plan]:
    """Yield a plan for each way to send a call."""
    for transport, keys, media in product(TRANSPORTS, KEYS, MEDIA):
        yield Plan(it.one.uri(transport), seconds=SECONDS, insecure=True, setup_timeout=20, **keys, **media)


def recorded(it: Api, calls: list[CallReport]) -> None:
    """Compare what is recorded with what was sent."""
    assert [(call.number, call.faults) for call in calls if not call.well] == []
    listed = it.over(calls)
    for call in calls:
        told = [(s["codec"], s["srtp"], s["packets"], s["lost"]) for s in listed[call.session_id]["streams"]]
        assert told == [(s.codec, s.suite, s.frames, 0) for s in call.streams]


@pytest.mark.parametrize("hosts", [1, 2])
def test_every_mode_is_as_planned_and_recorded(tmp_path: Path, hosts: int) -> None:
    with ExitStack() as stack:
        apart = stack.enter_context(lossy(NetworkFaults())) if hosts == 2 else None
        where = (
            {"host": SERVER, "api_host": "127.0.0.1", "sources": f"{CLIENT}/32", **PLACE} if apart else {"ports": 600}
        )
        it = stack.enter_context(running(tmp_path, start=False, srtp="preferred", **where))
        with ExitStack() as inside:
            if apart:
                inside.enter_context(apart.inside("server"))
            it.one.start()
        plans, calls = list(modes(it)), list[CallReport]()
        with ExitStack() as inside:
            if apart:
                inside.enter_context(apart.inside("client"))
            for first in range(0, len(plans), len(plans) // 4):
                calls += place(plans[first : first + len(plans) // 4])
        with ExitStack() as inside:
            if apart:
                inside.enter_context(apart.inside("server"))
            recorded(it, calls)
            assert it.one.stop() == 0
