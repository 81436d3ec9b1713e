"""calls, export, verify, recover on a place without calls, and how times are read."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from recorder.cli import export
from recorder.cli.calls import moment
from recorder.errors import WrongUse
from recorder.maintenance.cli_audit import actor
from recorder.persist.instance_lock import node_lock
from storage.journal.index_gap import Gap
from tests.in_process.command_line import Answer, Place, Printed
from tests.in_process.storage_node import NOON, record

NOBODY = "11111111-2222-4333-8444-555555555555"


def test_a_place_without_calls_gives_empty_answers(answer: Answer, printed: Printed) -> None:
    for words in ("calls", "verify", "recover"):
        assert printed(words)[0] and answer(words) is not None


def test_a_list_from_an_index_that_is_being_filled_says_so(place: Place, answer: Answer, printed: Printed) -> None:
    gap = Gap(place.data / "customers" / "acme")
    gap.widen(20_000)
    assert answer("calls") == {"items": [], "incomplete": True}
    assert "acme: calls may be missing." in printed("calls")[1]
    gap.close()
    assert answer("calls") == {"items": []}


@pytest.mark.parametrize(("option", "right"), [("state", "interrupted"), ("direction", "outbound")])
def test_an_invalid_call_filter_names_the_valid_ones(place: Place, printed: Printed, option: str, right: str) -> None:
    assert right in printed("calls", f"--{option}", "sideways", status=2)[1]
    assert place.run("calls", f"--{option}", right, "--no-hold", "--source", "192.0.2.7") == 0


def test_an_unknown_call_exits_with_1(place: Place, answer: Answer) -> None:
    assert place.run("export", NOBODY, "-o", "/tmp/never.wav") == 1
    told = answer("verify", NOBODY, status=1)
    assert (told["ok"], told["missing"], told["defects"]) == (False, [NOBODY], [])


def test_a_foreign_database_is_reported_as_a_defect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = Place(tmp_path, ("acme", "zeta"))
    place.configure(more="")
    place.config.write_text(place.config.read_text().replace("192.0.2.0/24", "198.51.100.0/24", 1))
    assert place.run("verify") == 0
    acme, zeta = (place.data / "customers" / name / "index.sqlite3" for name in place.customers)
    acme.write_bytes(zeta.read_bytes())
    capsys.readouterr()
    assert place.run("verify", "--json") == 1
    (defect,) = json.loads(capsys.readouterr().out)["defects"]
    assert (defect["customer"], defect["call"]) == ("acme", "")
    assert defect["kind"] == "the database of customer acme belongs to another customer"
    zeta.write_bytes(b"no database at all" * 100)
    assert place.run("verify", "--json") == 1
    assert {each["customer"] for each in json.loads(capsys.readouterr().out)["defects"]} == {"acme", "zeta"}
    assert place.run("calls") == 3, "only a verification looks on"


def test_recover_leaves_a_running_daemon_alone(place: Place, printed: Printed) -> None:
    with node_lock(place.settings()) as held:
        assert held
        assert "daemon is running" in printed("recover", status=3)[1]


def test_times_in_every_spelling() -> None:
    assert moment(None) is None
    assert moment("2026-03-01") == datetime(2026, 3, 1, tzinfo=UTC)
    assert moment("2026-03-01T12:00:00Z") == datetime(2026, 3, 1, 12, tzinfo=UTC)
    before, ago = datetime.now(UTC), moment("2h")
    assert ago and before <= ago + timedelta(hours=2) <= datetime.now(UTC)
    for wrong in ("yesterday", "", "99999999999999d"):
        with pytest.raises(WrongUse):
            moment(wrong)


def test_searches_and_exports_are_audited_without_their_text(place: Place, answer: Answer, tmp_path: Path) -> None:
    call = place.do(record).id
    assert answer("calls", "--party", "Mira Okafor")["items"][0]["id"] == call
    assert place.run("export", call, "-o", str(tmp_path / "call.wav")) in (0, 1, 3)
    for unknown in (NOBODY, "Mira Okafor"):
        assert place.run("export", unknown, "--customer", "acme", "-o", str(tmp_path / "x.wav")) == 1
    acts = place.acts()
    assert {(act["actor"], act["role"]) for act in acts} == {(actor().name, "operator")}
    assert [(act["action"], act["object"], act["outcome"]) for act in acts] == [
        ("calls.search", "", "done"),
        ("call.media", call, "done"),
        ("call.media", NOBODY, "failed"),
        ("call.media", "", "failed"),
    ]
    assert "Okafor" not in json.dumps(acts)
    assert place.run("audit", "verify") == 0


def test_calls_of_all_customers_are_listed_newest_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = Place(tmp_path, ("acme", "zeta"))
    place.configure(more="")
    place.config.write_text(place.config.read_text().replace("192.0.2.0/24", "198.51.100.0/24", 1))
    for hour, customer in enumerate((0, 1, 0)):
        place.do(partial(record, ended=NOON + timedelta(hours=hour)), customer)
    capsys.readouterr()
    assert place.run("calls") == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["id", "customer", "state", "started", "length", "parties"]
    assert [line.split()[1] for line in lines] == ["acme", "zeta", "acme"]


def test_an_exports_omissions_are_printed_safely_on_stderr(
    place: Place, printed: Printed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def written(customer: object, call: str, form: str, to: Path) -> dict[str, object]:
        to.write_bytes(b"RIFF")
        return {"call": call, "caveat": "Silence stands for EVS\x1b[2J."}

    call = place.do(record).id
    monkeypatch.setattr(export, "export_call", written)
    for more in ([], ["--json"]):
        out, err = printed("export", call, "-o", str(tmp_path / f"{len(more)}.wav"), *more)
        assert "Silence stands for EVS" in err and "\x1b" not in err + out
