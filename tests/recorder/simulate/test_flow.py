"""Handshakes of the simulator with the recorder's own side of DTLS-SRTP, in memory."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from aiortc import RTCCertificate
from pylibsrtp import Error

from media.srtp.dtls import Association, Identity
from media.srtp.srtcp import Srtcp
from recorder.simulate import flow as flows
from recorder.simulate.flow import Flow

OWN = RTCCertificate.generateCertificate()
PRINT = next(f"sha-256 {each.value}" for each in OWN.getFingerprints() if each.algorithm == "sha-256")
THEIRS = Identity.create(datetime.now(UTC))
SOURCE = ("192.0.2.1", 4000)
REPORT = bytes.fromhex("81c90007 00000009 0000004d 0c000003 00011170 00000008 00000000 00000000".replace(" ", ""))


class Wire:
    """Carries datagrams between a flow and the recorder's association."""

    def __init__(self, association: Association | None) -> None:
        self._association = association
        self.flow = Flow(self, SOURCE)  # type: ignore[arg-type]  # all that it asks of a stream

    async def send(self, datagram: bytes, _to: Any) -> None:
        if self._association is not None:
            self._association.receive(datagram, SOURCE, 0.0)
            self.carry()

    def carry(self) -> None:
        for datagram in self._association.data_to_send() if self._association else ():
            assert self.flow.take(datagram) is None


@pytest.mark.parametrize("active", [True, False])
async def test_both_ends_derive_the_same_keys_in_either_role_d1_d3(active: bool) -> None:
    theirs = Association(THEIRS, [PRINT], active=not active, secret=b"s")
    theirs.start(0.0)
    wire = Wire(theirs)
    wire.carry()  # what comes before the handshake begins is not lost
    assert await wire.flow.agree(OWN, [THEIRS.fingerprint], active=active) is None
    assert theirs.keys is not None and theirs.keys.suite == "AEAD_AES_256_GCM"
    sealed = Srtcp(theirs.keys.suite, theirs.keys.ours).protect(REPORT)
    assert wire.flow.read(sealed) == REPORT
    with pytest.raises(Error):
        wire.flow.read(REPORT)
    await wire.flow.close()


async def test_an_unannounced_certificate_gives_no_keys_d2(monkeypatch: pytest.MonkeyPatch) -> None:
    for named, why in ((PRINT, "certificate"), ("no hash at all", "certificate")):
        theirs = Association(THEIRS, [PRINT], active=True, secret=b"s")
        theirs.start(0.0)
        wire = Wire(theirs)
        wire.carry()
        assert why in (await wire.flow.agree(OWN, [named], active=False) or "")
        assert wire.flow.outbound is None
    monkeypatch.setattr(flows, "HANDSHAKE_SECONDS", 0.05)
    wire = Wire(None)
    agreeing = asyncio.create_task(wire.flow.agree(OWN, [PRINT], active=True))
    await asyncio.sleep(0)
    assert wire.flow.take(REPORT) is None  # nothing could open it yet
    assert await agreeing == "no handshake completed"


async def test_a_closed_flow_says_nothing_more() -> None:
    theirs = Association(THEIRS, [PRINT], active=False, secret=b"s")
    theirs.start(0.0)
    wire = Wire(theirs)
    assert await wire.flow.agree(OWN, [THEIRS.fingerprint], active=True) is None
    sent: list[bytes] = []

    async def send(datagram: bytes, _to: Any) -> None:
        sent.append(datagram)

    wire.send = send  # type: ignore[method-assign]
    await wire.flow.close()
    await asyncio.sleep(0)
    assert sent == []  # no alert, which the next call at this port would get
