"""Handshakes of the simulator with the recorder's own side of DTLS-SRTP, in memory and over real sockets."""

from __future__ import annotations

import socket
from datetime import UTC, datetime

import pytest
from pylibsrtp import Policy, Session

from media.srtp.dtls import Association as Recorders
from media.srtp.dtls import Identity
from recorder.simulate.association import Association, Own
from recorder.simulate.batch import PROFILES
from recorder.simulate.outgoing import Outgoing
from recorder.simulate.shaking import Shaking

OWN = Own.create()
THEIRS = Identity.create(datetime.now(UTC))
SOURCE = ("192.0.2.1", 4000)


def shake(ours: Association, theirs: Recorders, lost: int = 0) -> None:
    """Carry datagrams to and fro; the first `lost` of ours come to nothing."""
    theirs.start(0.0)
    for _ in range(12):
        for datagram in ours.data_to_send():
            lost -= 1
            if lost < 0:
                theirs.receive(datagram, SOURCE, 0.0)
        for datagram in theirs.data_to_send():
            ours.receive(datagram)


@pytest.mark.parametrize("active", [True, False])
def test_both_ends_derive_the_same_keys_in_either_role_d1_d3(active: bool) -> None:
    ours = Association(OWN.pem, [THEIRS.fingerprint], active=active)
    theirs = Recorders(THEIRS, [OWN.fingerprint], active=not active, secret=b"s")
    ours.receive(b"\x16\xfe\xfd" + bytes(10))  # what is no handshake changes nothing
    ours.repeat()
    early = ours.over
    shake(ours, theirs)
    assert ours.over and not early and ours.agreed is not None and theirs.keys is not None
    assert (ours.agreed.suite, ours.agreed.ours, ours.agreed.theirs) == (
        theirs.keys.suite, theirs.keys.theirs, theirs.keys.ours,
    )  # fmt: skip
    assert ours.agreed.suite == "AEAD_AES_256_GCM"


def test_an_unannounced_certificate_gives_no_keys_d2() -> None:
    ours = Association(OWN.pem, [OWN.fingerprint], active=False)
    shake(ours, Recorders(THEIRS, [OWN.fingerprint], active=True, secret=b"s"))
    assert (ours.agreed, ours.over) == (None, True)
    assert "certificate" in (ours.fault or "")


def udp() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    made.settimeout(5)
    return made


@pytest.mark.parametrize("mux", [True, False])
def test_a_stream_gets_the_keys_of_its_ports_d5(mux: bool) -> None:
    ports, own = [udp(), udp()], (udp(), udp())
    words = {
        "id": 0, "lane": 0, "codec": "PCMA", "sound": 0, "run": 1, "call": 0, "stream": 0, "ssrc": 7,
        "suite": "DTLS-SRTP", "key": "", "peer_key": "", "host": "127.0.0.1", "port": ports[0].getsockname()[1],
        "rtcp_port": ports[0 if mux else 1].getsockname()[1], "fingerprints": (THEIRS.fingerprint,), "active": True,
    }  # fmt: skip
    stream = Outgoing(words, {})
    made = Shaking(words, OWN.pem, stream, own)
    assert len(made.names) == (1 if mux else 2)
    ends = [Recorders(THEIRS, [OWN.fingerprint], active=False, secret=b"s") for _ in made.names]
    for _ in range(4):
        for end, port, mine in zip(ends, ports, own, strict=False):
            if made.over:
                continue
            end.receive(*port.recvfrom(4096), 0.0)
            for datagram in end.data_to_send():
                port.sendto(datagram, mine.getsockname())
                made.receive(port.getsockname(), mine.recv(4096))
    assert made.over and made.fault is None
    keys = [end.keys for end in ends]
    assert stream.source.session is not None and keys[0] is not None and keys[-1] is not None
    stream.on(0)
    policy = Policy(key=keys[-1].theirs, ssrc_type=Policy.SSRC_ANY_INBOUND, srtp_profile=PROFILES[keys[-1].suite])
    assert Session(policy).unprotect_rtcp(stream.report(5, 1.0))[1] == 200
    for each in (*ports, *own):
        each.close()
