"""A network that loses, repeats and reorders. Only root can make one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.api import running
from tests.daemon.coded_calls import missing, place, verified, wishes
from tests.daemon.network import CLIENT, SERVER, NetworkFaults, lossy

PORTS: dict[str, Any] = {
    "host": SERVER,
    "api_host": "127.0.0.1",
    "udp": 5060,
    "tls": 5061,
    "api": 8443,
    "media": 20_000,
    "ports": 200,
}
CALLS = 8
FRAME_MS = 20
BAD = NetworkFaults(loss=0.05, twice=0.02, late=0.2)


def calls_over(weather: NetworkFaults, folder: Path, seconds: float) -> None:
    with lossy(weather) as network, running(folder, start=False, sources=f"{CLIENT}/32", **PORTS) as it:
        one = it.one
        with network.inside("server"):
            one.start()
        with network.inside("client"):
            calls = place([replace(plan, seconds=seconds) for plan in wishes(one, CALLS, seconds)])
        lost = sum(network.lost().values())
        assert [(call.number, call.faults) for call in calls if not call.well] == []
        with network.inside("server"):
            recorded = it.over(calls)
            seen, sent = 0, 0
            for call in calls:
                mine = recorded[call.session_id]
                assert (mine["state"], mine["end_reason"]) == ("complete", "bye")
                for stream, said, found in zip(call.streams, mine["streams"], it.channels(mine["id"]), strict=True):
                    lack = missing(stream, found)
                    inner = [frame for frame in lack if frame > found[0].frame and frame < found[-1].frame]
                    assert said["packets"] == stream.frames - len(lack)
                    assert said["lost"] == len(inner)
                    assert said["gap_ms"] >= FRAME_MS * len(inner)
                    assert {reason for _, _, reason in said["gaps"]} <= {"loss"}
                    assert bool(said["gaps"]) == bool(inner)
                    seen, sent = seen + len(lack), sent + stream.frames
            print(f"{lost} of {sent} RTP packets lost on the way, {seen} frames missing")
            behind_the_bye = len(calls) * 2 * round(1000 * weather.by / FRAME_MS) if weather.by > 0.1 else 0
            assert lost <= seen <= lost + behind_the_bye
            assert weather.loss == 0 or lost > 0.4 * weather.loss * sent
            assert one.stop() == 0
            assert "Traceback" not in one.log.read_text()
            assert verified(one) == []


def test_calls_over_a_lossy_network_name_their_losses(tmp_path: Path) -> None:
    calls_over(BAD, tmp_path, 6.0)


@pytest.mark.torture
@pytest.mark.parametrize("weather", [replace(BAD, loss=0.15, late=0.5, by=0.5), replace(BAD, loss=0.0, late=0.3)])
def test_torture_of_calls_over_worse_networks(tmp_path: Path, weather: NetworkFaults) -> None:
    calls_over(weather, tmp_path, 60.0)
