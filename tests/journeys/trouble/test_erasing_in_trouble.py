"""On a disk without a free byte a call is still erased on request."""

from __future__ import annotations

from pathlib import Path

from tests.daemon.api import WAIVER, running
from tests.daemon.coded_calls import record
from tests.daemon.fault_injection import troublemaker
from tests.journeys.trouble.disks import filled, small_disk

__all__ = ["small_disk", "troublemaker"]


def test_erasing_works_at_no_byte_free(small_disk: Path, tmp_path: Path) -> None:
    with running(tmp_path) as api:
        assert api.one.data == small_disk
        gone, held, kept = (call["id"] for call in record(api, 3))
        api.ask("PUT", "/waiver", json=WAIVER)
        api.one.token("privacy")  # while there is room for it
        filled(small_disk)
        receipt = api.erase(calls=[gone])["receipt"]
        assert receipt["calls"] == [gone] and api.gone(gone)
        (small_disk / "filler").unlink()
        assert api.ask("PUT", f"/calls/{held}/hold", "privacy", json={"reason": "court"}).status_code == 200
        filled(small_disk)
        assert api.erase(calls=[kept])["receipt"]["calls"] == [kept]
        (small_disk / "filler").unlink()
        assert api.one.stop() == 0
        for path in small_disk.glob("customers/acme/index.sqlite3*"):
            path.unlink()
        api.one.start()
        found = api.get(f"/erasures/{receipt['erasure']}", "privacy").json()
        assert found["receipt"] == receipt
        assert api.one.run("audit", "verify").returncode == 0
        assert (small_disk / "customers/acme/audit.checkpoints").stat().st_size, "the log was signed meanwhile"
