"""Certificates that nobody renews in time, or whose successor cannot be used: said once in the log and as an incident.

The listeners go on with what they have (recorder.runtime.tls, admin_api.server.uvicorn_server); this looks at the same
files and tells. Of a file that cannot be used nothing is said at the first look: certificate and key are replaced one
by one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from recorder.calls.context import Node
from recorder.calls.status import expiry
from recorder.errors import NotPossible
from recorder.runtime.tls import context

LOOK_SECONDS = 30.0
"""A pair of files is half replaced for less than that."""

WARN_DAYS = (0, 7, 30)
"""A renewal that failed is said when it can still be mended, again when that becomes urgent, and when it is over."""


@dataclass(slots=True)
class Watched:
    """The certificate of one listener, and what was said of it."""

    use: str
    certificate: Path
    key: Path
    authorities: Sequence[Path] = ()
    ends: datetime | None = None
    # of the last one that could be used
    well: bool = True
    # it could be used at the last look
    told: set[tuple[datetime | None, int]] = field(default_factory=set)
    # ends and limits that were said
    broken: bool = False
    # that it cannot be used was said

    def read(self) -> bool:
        """Look at the files; return whether they can be used."""
        try:
            context(self.certificate, self.key, None, self.authorities)
        except NotPossible:
            return False
        self.ends = expiry(self.certificate)
        return True


class CertificateExpiry:
    """Looks at the certificates of the listeners."""

    def __init__(self, node: Node) -> None:
        self._node = node
        sip, api = node.settings.sip, node.settings.admin_api
        self._watched: list[Watched] = []
        if sip.certificate and sip.private_key:
            ours = (*((sip.client_ca,) if sip.client_ca else ()), *node.settings.authorities)
            self._watched.append(Watched("sip", sip.certificate, sip.private_key, ours))
        if api.certificate and api.private_key:
            self._watched.append(Watched("admin_api", api.certificate, api.private_key))

    async def run(self) -> None:
        """Look for ever; owned by recorder.runtime.tasks."""
        while True:
            try:
                await self.look()
            except Exception as problem:  # without this task nobody would be told
                self._node.log.fault("certificate.fault", problem)
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Look once, away from the loop, and say what was not said yet."""
        for each in self._watched:
            well = await asyncio.to_thread(each.read)
            if well:
                each.broken = False
            elif not each.well and not each.broken:
                each.broken = True
                self._node.log.warning("certificate.unusable", use=each.use)
                self._node.incidents.add("certificate-unusable", None, use=each.use)
            each.well = well
            self._judge(each, self._node.now().wall)

    def _judge(self, each: Watched, now: datetime) -> None:
        """Say how long the certificate in use still holds, if that is not long."""
        if each.ends is None:
            return
        left = each.ends - now
        limit = next((days for days in WARN_DAYS if left <= timedelta(days=days)), None)
        if limit is not None and (each.ends, limit) not in each.told:
            each.told.add((each.ends, limit))
            days = max(-(-left // timedelta(days=1)), 0)
            self._node.log.warning("certificate.expires" if limit else "certificate.expired", use=each.use, days=days)
            self._node.incidents.add(
                "certificate-expires" if limit else "certificate-expired", None, use=each.use, days=days
            )
