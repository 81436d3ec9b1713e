"""A certificate that runs out, and a successor that cannot be used, are said once; the files are real ones."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from recorder.maintenance import bootstrap, cert_expiry
from recorder.maintenance.cert_expiry import CertificateExpiry
from recorder.observe.incidents import Incidents

NOW = datetime(2026, 2, 3, 12, tzinfo=UTC)


@dataclass
class Node:
    """What the job takes: settings, a clock that is set, a log that remembers."""

    folder: Path
    at: datetime = NOW
    said: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.incidents = Incidents(lambda: self.at)
        self.log = self
        sip = SimpleNamespace(certificate=self.folder / "sip.crt", private_key=self.folder / "sip.key", client_ca=None)
        api = SimpleNamespace(certificate=None, private_key=None)
        self.settings = SimpleNamespace(sip=sip, admin_api=api, authorities=())

    def warning(self, event: str, **facts: Any) -> None:
        self.said.append((event, facts))

    def fault(self, event: str, problem: BaseException) -> None:
        self.said.append((event, {"fault": type(problem).__name__}))

    def renew(self, *, began: datetime = NOW, use: str = "sip") -> None:
        """Put a certificate in place that holds from a time on."""
        public, private = bootstrap.certificate(["localhost"], began)
        (self.folder / f"{use}.crt").write_bytes(public)
        (self.folder / f"{use}.key").write_bytes(private)

    @property
    def kinds(self) -> list[tuple[str, str, int | None]]:
        found = reversed(self.incidents.of("acme"))
        return [(each["kind"], each["use"], each.get("days")) for each in found]


def _watch(node: Node) -> CertificateExpiry:
    return CertificateExpiry(node, node.incidents, node.settings, lambda: node.at)  # type: ignore[arg-type]  # as much as it uses


def story(folder: Path, tell: Callable[[Node, CertificateExpiry], Awaitable[None]]) -> None:
    node = Node(folder)
    node.renew()
    asyncio.run(tell(node, _watch(node)))


def test_an_end_that_comes_near_is_said_at_each_limit_and_once(tmp_path: Path) -> None:
    lasts = timedelta(days=bootstrap.CERTIFICATE_DAYS)

    async def tell(node: Node, watch: CertificateExpiry) -> None:
        for left in (31, 30, 29, 8, 7, 6, 1, 0, -1, -400):
            node.at = NOW + lasts - timedelta(days=left, hours=1)
            for _ in range(2):
                await watch.look()
        assert node.kinds == [
            ("certificate-expires", "sip", 30),
            ("certificate-expires", "sip", 7),
            ("certificate-expired", "sip", 0),
        ]
        assert [event for event, _ in node.said] == [
            "certificate.expires",
            "certificate.expires",
            "certificate.expired",
        ]

    story(tmp_path, tell)


def test_a_renewed_one_is_no_news_until_it_runs_out_itself(tmp_path: Path) -> None:
    async def tell(node: Node, watch: CertificateExpiry) -> None:
        node.at = NOW + timedelta(days=bootstrap.CERTIFICATE_DAYS - 10)
        await watch.look()
        node.renew(began=node.at)
        await watch.look()
        assert len(node.kinds) == 1
        node.at += timedelta(days=bootstrap.CERTIFICATE_DAYS)
        await watch.look()
        assert [kind for kind, *_ in node.kinds] == ["certificate-expires", "certificate-expired"]

    story(tmp_path, tell)


@pytest.mark.parametrize("spoil", ["sip.crt", "sip.key"])
def test_an_unusable_renewed_certificate_is_reported_once(tmp_path: Path, spoil: str) -> None:
    async def tell(node: Node, watch: CertificateExpiry) -> None:
        await watch.look()
        (tmp_path / spoil).write_text("none")
        await watch.look()
        assert node.said == []  # perhaps the other file follows
        await watch.look()
        await watch.look()
        assert node.kinds == [("certificate-unusable", "sip", None)]
        node.at = NOW + timedelta(days=bootstrap.CERTIFICATE_DAYS + 1)
        await watch.look()
        assert [kind for kind, *_ in node.kinds] == ["certificate-unusable", "certificate-expired"]
        node.renew(began=node.at)
        await watch.look()
        (tmp_path / spoil).unlink()
        await watch.look()
        await watch.look()
        assert [kind for kind, *_ in node.kinds][2:] == ["certificate-unusable"]

    story(tmp_path, tell)


def test_every_listeners_certificate_is_watched(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.settings.sip = SimpleNamespace(certificate=None, private_key=None, client_ca=None)
    assert _watch(node)._watched == []
    for use in ("sip", "admin_api"):
        node.renew(use=use, began=NOW - timedelta(days=bootstrap.CERTIFICATE_DAYS - 3))
    ca = tmp_path / "sip.crt"
    node.settings.sip = SimpleNamespace(certificate=ca, private_key=tmp_path / "sip.key", client_ca=ca)
    node.settings.admin_api = SimpleNamespace(
        certificate=tmp_path / "admin_api.crt", private_key=tmp_path / "admin_api.key"
    )
    asyncio.run(_watch(node).look())
    assert sorted(use for _, use, _ in node.kinds) == ["admin_api", "sip"]


def test_a_fault_does_not_end_the_watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cert_expiry, "LOOK_SECONDS", 0.001)

    def broken(_: Path) -> None:
        raise RuntimeError(os.fspath(tmp_path))

    monkeypatch.setattr(cert_expiry, "expiry", broken)

    async def tell(node: Node, watch: CertificateExpiry) -> None:
        task = asyncio.create_task(watch.run())
        while len(node.said) < 2:
            await asyncio.sleep(0.001)
        task.cancel()
        assert node.said[0] == ("certificate.fault", {"fault": "RuntimeError"})

    story(tmp_path, tell)
