"""backup, restore and audit accept: what they print, what they refuse, and what stands in the audit log."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest

from recorder.maintenance.figures import Figures
from recorder.observe.metrics import Metrics
from recorder.persist.backup_time import verified_at
from recorder.persist.instance_lock import node_lock
from tests.in_process.command_line import Answer, Place, Printed


@pytest.fixture
def to(tmp_path: Path) -> Path:
    return tmp_path / "backup"


def emptied(place: Place) -> None:
    shutil.rmtree(place.data / "customers")


def test_a_backup_into_a_folder_that_is_not_there_names_it(place: Place, tmp_path: Path, printed: Printed) -> None:
    assert f"no folder {tmp_path}/usb/deep" in printed("backup", str(tmp_path / "usb" / "deep" / "backup"), status=3)[1]
    assert not place.folder.joinpath("usb").exists()


def test_backup_restore_and_accept(place: Place, to: Path, answer: Answer, printed: Printed) -> None:
    place.run("calls")  # one entry
    with node_lock(place.settings()):  # the daemon may run
        made = answer("backup", str(to))
    assert {key: made[key] for key in ("ok", "path", "generation")} == {"ok": True, "path": str(to), "generation": 1}
    assert made["bytes"] == made["copied"] > 0 and made["faults"] == []
    assert place.acts()[-1]["action"] == "data.backup"
    place.run("calls")
    assert "generation 2" in printed("backup", str(to), "--keep", "2")[0]
    place.run("calls")
    assert "move everything but keys/" in printed("restore", str(to), status=3)[1]
    emptied(place)
    with node_lock(place.settings()):
        assert place.run("restore", str(to)) == 3
    restored = answer("restore", str(to), "--generation", "1")
    assert {key: restored[key] for key in ("ok", "path", "generation")} == {
        "ok": True,
        "path": str(to),
        "generation": 1,
    }
    assert restored["bytes"] == made["bytes"]
    assert [act["action"] for act in place.acts()] == ["calls.search", "data.backup", "audit.broken", "data.restore"]
    assert place.run("audit", "verify") == 1
    assert place.run("audit", "accept", "--reason", " ") == 2
    assert answer("audit", "accept", "--customer", "acme", "--reason", "fire") == {"customer": "acme", "entry": 5}
    out, _ = printed("audit", "verify")
    assert "accepted" in out and "in entry 5: entries 3 to 5 of then (fire)" in out
    assert "lacks no entries" in printed("audit", "accept", "--reason", "again", status=1)[1]
    (shown,) = answer("audit", "verify")["customers"][0]["accepted"]
    assert (shown["entry"], shown["first"], shown["last"], shown["reason"]) == (5, 3, 5, "fire")
    assert place.acts()[-1]["action"] == "audit.accept"


def test_what_is_no_loss_is_not_accepted(place: Place, printed: Printed) -> None:
    place.run("calls")
    log = place.data / "customers/acme/audit.jsonl"
    log.write_bytes(log.read_bytes().replace(b"calls.search", b"calls.seized"))
    assert "no loss that can be accepted" in printed("audit", "accept", "--reason", "x", status=1)[1]
    assert place.run("audit", "verify") == 1


def test_folders_that_are_no_place_for_a_backup(place: Place, to: Path, printed: Printed) -> None:
    for folder in (place.data, place.data / "backup", place.data.parent):
        assert place.run("backup", str(folder)) == 2
    assert place.run("restore", str(to)) == 2
    to.mkdir()
    assert place.run("restore", str(to)) == 2
    (to / "letter").write_text("dear")
    assert "holds other files" in printed("backup", str(to), status=2)[1]
    assert not (place.data / "backup").exists()


def test_what_is_damaged_is_named_and_the_status_is_1(place: Place, to: Path, answer: Answer, printed: Printed) -> None:
    (place.data / "customers/acme/index.sqlite3").write_bytes(b"nothing" * 1000)
    made = answer("backup", str(to), status=1)
    assert made["ok"] is False and len(made["faults"]) == 1
    (to / "generations/1/state/customers/acme/audit.jsonl").write_bytes(b"other")
    emptied(place)
    assert "audit.jsonl is damaged in the backup" in printed("restore", str(to), status=1)[1]
    (to / "generations/1/manifest.jsonl").write_text(json.dumps({}))
    emptied(place)
    assert place.run("restore", str(to)) == 1


def test_only_a_complete_verification_without_a_defect_is_noted(place: Place) -> None:
    def age() -> float:
        metrics = Metrics()
        Figures(metrics, place.settings()).take()
        return metrics.registry.get_sample_value("recorder_verify_age_seconds") or 0.0

    assert math.isnan(age())
    assert place.run("verify", "--customer", "acme") == 0
    assert math.isnan(age()), "one customer is not everything"
    assert place.run("verify") == 0
    assert 0 <= age() < 60
    (place.data / ".verified").unlink()
    (place.data / "customers/acme/audit.jsonl").write_bytes(b"{}\n")
    assert place.run("verify") == 1
    assert math.isnan(age())


def test_a_restore_passes_for_no_verification(place: Place, to: Path) -> None:
    place.run("verify")
    assert place.run("backup", str(to)) == 0
    emptied(place)
    (place.data / ".verified").unlink()
    assert place.run("restore", str(to)) == 0
    assert verified_at(place.data) is None


def test_a_customer_without_keys_is_named(tmp_path: Path, to: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = Place(tmp_path, ("acme", "zeta"))
    (place.keys / "zeta.forget").unlink()
    (place.keys / "zeta.forget.new").unlink()
    assert place.run("backup", str(to)) == 1
    assert "customer zeta" in capsys.readouterr().err
    assert (to / "generations/1/state/customers/zeta/tree.state").exists(), "its files are backed up all the same"
    assert place.run("audit", "accept", "--reason", "x") == 2  # which customer?
