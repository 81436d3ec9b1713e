"""Handshakes of the simulator with the recorder's own side of DTLS-SRTP, in memory and over real sockets."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from media.srtp.dtls import Association as Recorders
from media.srtp.dtls import Identity
from recorder.simulate.association import Association, Own

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
