"""A certificate that runs out, and a successor that cannot be used, are said once; the files are real ones."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from recorder.maintenance import bootstrap, cert_expiry
from recorder.maintenance.cert_expiry import CertificateExpiry
from recorder.observe.incidents import Incidents

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 2, 3, 12, tzinfo=UTC)


class Watched:
    """The job with what it takes: settings, a clock that is set, a log that remembers."""

    def __init__(self, folder: Path, *uses: str) -> None:
        self.folder, self.at = folder, NOW
        self.said: list[str] = []
        self.incidents = Incidents(lambda: self.at)
        sip, api = [
            SimpleNamespace(
                certificate=folder / f"{use}.crt" if use in uses else None,
                private_key=folder / f"{use}.key" if use in uses else None,
                client_ca=folder / "sip.crt" if "sip" in uses else None,
            )
            for use in ("sip", "admin_api")
        ]
        for use in uses:
            self.renew(use)
        settings: Any = SimpleNamespace(sip=sip, admin_api=api, authorities=())
        self.job = CertificateExpiry(self, self.incidents, settings, lambda: self.at)  # type: ignore[arg-type]  # a log

    def warning(self, event: str, **facts: Any) -> None:
        self.said.append(event)

    def fault(self, event: str, problem: BaseException) -> None:
        self.said.append(f"{event} {type(problem).__name__}")

    def renew(self, use: str = "sip") -> None:
        """Put a certificate in place that holds from now on."""
        public, private = bootstrap.certificate(["localhost"], self.at)
        (self.folder / f"{use}.crt").write_bytes(public)
        (self.folder / f"{use}.key").write_bytes(private)

    async def look(self, times: int = 1) -> list[tuple[str, str, int | None]]:
        """Look some times; return all incidents so far, the oldest first."""
        for _ in range(times):
            await self.job.look()
        found = reversed(self.incidents.of("acme"))
        return [(each["kind"], each["use"], each.get("days")) for each in found]


LIFE = timedelta(days=bootstrap.CERTIFICATE_DAYS)


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path, "sip")


async def test_an_end_that_comes_near_is_reported_once_at_each_limit(watched: Watched) -> None:
    for left in (31, 30, 29, 8, 7, 6, 1, 0, -1, -400):
        watched.at = NOW + LIFE - timedelta(days=left, hours=1)
        found = await watched.look(2)
    assert found == [
        ("certificate-expires", "sip", 30),
        ("certificate-expires", "sip", 7),
        ("certificate-expired", "sip", 0),
    ]
    assert watched.said == ["certificate.expires", "certificate.expires", "certificate.expired"]


async def test_a_renewed_certificate_is_not_reported_until_it_ends(watched: Watched) -> None:
    watched.at = NOW + LIFE - timedelta(days=10)
    await watched.look()
    watched.renew()
    assert len(await watched.look()) == 1
    watched.at += LIFE
    assert [kind for kind, *_ in await watched.look()] == ["certificate-expires", "certificate-expired"]


@pytest.mark.parametrize("spoil", ["sip.crt", "sip.key"])
async def test_an_unusable_renewed_certificate_is_reported_once(watched: Watched, spoil: str) -> None:
    await watched.look()
    (watched.folder / spoil).write_text("none")
    assert await watched.look() == []  # perhaps the other file follows
    assert await watched.look(2) == [("certificate-unusable", "sip", None)]
    watched.at = NOW + LIFE + timedelta(days=1)
    assert [kind for kind, *_ in await watched.look()] == ["certificate-unusable", "certificate-expired"]
    watched.renew()
    await watched.look()
    (watched.folder / spoil).unlink()
    assert [kind for kind, *_ in await watched.look(2)][2:] == ["certificate-unusable"]


async def test_every_listeners_certificate_is_watched(tmp_path: Path) -> None:
    for uses in ((), ("sip",), ("sip", "admin_api")):
        node = Watched(tmp_path, *uses)
        node.at += LIFE - timedelta(days=3)
        assert [use for _, use, _ in await node.look()] == list(uses)


async def test_a_fault_does_not_end_the_watch(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Path) -> None:
        raise RuntimeError(os.fspath(watched.folder))

    monkeypatch.setattr(cert_expiry, "LOOK_SECONDS", 0.001)
    monkeypatch.setattr(cert_expiry, "expiry", broken)
    task = asyncio.create_task(watched.job.run())
    while len(watched.said) < 2:
        await asyncio.sleep(0.001)
    task.cancel()
    assert watched.said[0] == "certificate.fault RuntimeError"
