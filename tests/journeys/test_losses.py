"""A network that loses, repeats and reorders, and senders whose address is really foreign. Only root can make one."""

from __future__ import annotations

import socket
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest

from sip.message.message import Response, parse
from tests.daemon.coded_calls import Watched, missing, place, verified, wishes
from tests.daemon.network import CLIENT, SERVER, STRANGER, Carrier, NetworkFaults, lossy
from tests.daemon.server import server
from tests.in_process.offers import sdp
from tests.journeys.test_floods import request

PORTS = {"host": SERVER, "api_host": "127.0.0.1", "udp": 5060, "tls": 5061, "api": 8443, "media": 20_000, "ports": 200}
CALLS = 8
FRAME_MS = 20
BAD = NetworkFaults(loss=0.05, twice=0.02, late=0.2)


def packet(port: int, payload: bytes) -> bytes:
    """Write a packet of IPv4 and UDP as far as the carrier reads it."""
    return b"\x45" + bytes(8) + b"\x11" + bytes(12) + port.to_bytes(2) + bytes(4) + payload


@pytest.mark.parametrize("seed", range(8))
def test_a_carrier_that_stood_still_lets_no_bye_overtake_audio(seed: int) -> None:
    """It takes both at once then, and the audio may be late."""
    audio, bye = packet(20_000, b"\x80" + bytes(180)), packet(5060, b"BYE sip:rec@rec.example SIP/2.0")
    with ExitStack() as opened:
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(3)]
        (client, its), (recorder, theirs), (stop, stopped) = (map(opened.enter_context, pair) for pair in pairs)
        client.send(audio)
        client.send(bye)
        carrier = Carrier((its.fileno(), theirs.fileno()), replace(BAD, loss=0.0, twice=0.0, late=0.5, seed=seed))
        running = Thread(target=carrier.run, args=(stopped.fileno(),))
        running.start()
        carried = [recorder.recv(65_536) for _ in range(2)]
        stop.send(b"over")
        running.join()
    assert carried == [audio, bye]


def calls_over(weather: NetworkFaults, folder: Path, seconds: float) -> None:
    with lossy(weather) as network, server(folder, level="info", sources=f"{CLIENT}/32", **PORTS) as one:
        with network.inside("server"):
            it = Watched(one, one.init())
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


def heard(source: str, kind: int, data: bytes, patience: float = 30.0) -> Response | None:
    """Send a request from an address and return the final answer; None if there is silence or the door."""
    with socket.socket(type=kind) as own:
        own.bind((source, 0))
        own.settimeout(patience)
        own.connect((SERVER, 5060))
        own.sendall(data)
        try:
            while answer := own.recv(65536):
                parsed = parse(answer)
                if isinstance(parsed, Response) and parsed.status >= 200:
                    return parsed
        except (TimeoutError, ConnectionError):
            return None
    return None


def test_a_foreign_address_gets_silence_on_udp_and_403_on_tcp(tmp_path: Path) -> None:
    with lossy(NetworkFaults()) as network, server(tmp_path, level="info", sources=f"{CLIENT}/32", **PORTS) as one:
        with network.inside("server"):
            it = Watched(one, one.init())
            one.start()
        seen = Counter()
        with network.inside("client"):
            for source, patience in ((CLIENT, 30.0), (STRANGER, 1.0)):  # nothing proves a silence but time
                options = heard(source, socket.SOCK_DGRAM, request("OPTIONS", f"o{source}", source), patience)
                invite = request("INVITE", f"i{source}", source, sdp("sendonly", "sendonly")).replace(b"UDP", b"TCP", 1)
                call = heard(source, socket.SOCK_STREAM, invite)
                seen.update([(source, options and options.status, call and call.status)])
        assert seen == Counter([(CLIENT, 200, 200), (STRANGER, None, 403)])
        with network.inside("server"):
            assert it.figure('recorder_sip_dropped_total{reason="source"}') >= 1
            listed = [(each["status"], each["reason"]) for each in it.ask("/incidents").json()["items"]]
            assert listed == [(403, "no-customer")]
            dropped = {line["reason"]: line["source"] for line in one.lines() if line.get("event") == "sip.dropped"}
            assert dropped["source"] == STRANGER
            one.stop()
