"""Report certificates that were not renewed in time, or whose replacement is unusable: once in the log and as an
incident.

The listeners continue with the certificate they have (recorder.runtime.tls); this checks the same files and reports. An
unusable file is not reported at the first check, because certificate and key are replaced one by one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from recorder.calls.status import expiry
from recorder.config.model import Settings
from recorder.errors import NotPossible
from recorder.observe.incidents import Incidents
from recorder.observe.logs import Log
from recorder.runtime.tasks import repeat
from recorder.runtime.tls import context

LOOK_SECONDS = 30.0
"""A pair of files is half replaced for less than this."""

WARN_DAYS = (0, 7, 30)
"""A failed renewal is reported while there is time to fix it, again when it becomes urgent, and on expiry."""


@dataclass(slots=True)
class Watched:
    """The certificate of one listener, and what was reported about it."""

    use: str
    """Section of the configuration: sip or admin_api."""
    certificate: Path
    key: Path
    authorities: Sequence[Path] = ()
    ends: datetime | None = None
    """When the last usable certificate expires."""
    well: bool = True
    """Whether it was usable at the last check."""
    reported: set[tuple[datetime | None, int]] = field(default_factory=set)
    """Expiry times, each with the limit of days that was reported for it."""
    broken: bool = False
    """Whether it was reported as unusable."""

    def read(self) -> bool:
        """Check the files; return whether they are usable."""
        try:
            context(self.certificate, self.key, None, self.authorities)
        except NotPossible:
            return False
        self.ends = expiry(self.certificate)
        return True


def watched(settings: Settings) -> Iterator[Watched]:
    """Yield the certificate of each listener that has one; `use` is its section."""
    sip, api = settings.sip, settings.admin_api
    if sip.certificate and sip.private_key:
        ours = (*((sip.client_ca,) if sip.client_ca else ()), *settings.authorities)
        yield Watched("sip", sip.certificate, sip.private_key, ours)
    if api.certificate and api.private_key:
        yield Watched("admin_api", api.certificate, api.private_key)


class CertificateExpiry:
    """Checks the certificates of the listeners."""

    def __init__(
        self, log: Log, incidents: Incidents, settings: Settings,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:  # fmt: skip
        self._clock = clock
        self._log = log
        self._incidents = incidents
        self._watched = list(watched(settings))

    async def run(self) -> None:
        """Check for ever; owned by recorder.runtime.tasks."""
        # if this task ended, no expiry would be reported any more
        await repeat(self.look, LOOK_SECONDS, lambda problem: self._log.fault("certificate.fault", problem))

    async def look(self) -> None:
        """Check once, outside the event loop, and report what is new."""
        for each in self._watched:
            well = await asyncio.to_thread(each.read)
            if well:
                each.broken = False
            elif not each.well and not each.broken:
                each.broken = True
                self._log.warning("certificate.unusable", use=each.use)
                self._incidents.add("certificate-unusable", None, use=each.use)
            each.well = well
            self._judge(each, self._clock())

    def _judge(self, each: Watched, now: datetime) -> None:
        """Report how long the current certificate is still valid, if that is not long."""
        if each.ends is None:
            return
        left = each.ends - now
        limit = next((days for days in WARN_DAYS if left <= timedelta(days=days)), None)
        if limit is not None and (each.ends, limit) not in each.reported:
            each.reported.add((each.ends, limit))
            days = max(-(-left // timedelta(days=1)), 0)
            self._log.warning("certificate.expires" if limit else "certificate.expired", use=each.use, days=days)
            self._incidents.add(
                "certificate-expires" if limit else "certificate-expired", None, use=each.use, days=days
            )
