"""customer add, title, close, remove: what they write, what they refuse, and what stays."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from recorder.config.loader import load
from storage.calls.call_row import CallRow
from storage.customer.customers import Customer
from storage.customer.removal import Removal
from tests.in_process.command_line import Answer, Place, Printed
from tests.in_process.storage_node import permit, record

NOW = datetime.now(UTC)
NOBODY = 65_534


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, ("acme", "globex"))


def closed(place: Place, *works: Callable[[Customer], Awaitable[Any]]) -> list[Any]:
    """Do something with globex, and close it."""
    done = [place.do(work, 1) for work in works]
    assert place.run("customer", "close", "globex") == 0
    return done


async def one_call(globex: Customer) -> CallRow:
    """Record a call that retention still keeps."""
    return await record(globex, ended=NOW, name="Mira Okafor")


def everything(folder: Path) -> bytes:
    """Return every name and byte below a folder."""
    found = sorted(folder.rglob("*"))
    return b"\n".join([str(p).encode() for p in found] + [p.read_bytes() for p in found if p.is_file()])


# ---- add, title, close ----
def test_a_customer_is_added_with_its_keys(place: Place, answer: Answer) -> None:
    place.config.chmod(0o640)
    before = place.config.read_text()
    told = answer("customer", "add", "initech", "--title", "Initech GmbH", "--source", "192.0.2.77/32")
    assert told == {"name": "initech", "state": "open", "receipt": None}
    assert place.config.read_text().startswith(before)
    assert stat.S_IMODE(place.config.stat().st_mode) == 0o640
    made = load(place.config).customer("initech")
    assert made is not None and (made.title, str(made.sources[0])) == ("Initech GmbH", "192.0.2.77/32")
    assert [act["action"] for act in place.acts("initech")] == ["customer.add"]
    assert answer("check-config", "--start")["ok"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("acme", "--source", "192.0.2.1"), "already"),
        (("Acme Ltd", "--source", "192.0.2.1"), "1 to 40"),
        (("initech",), "sources"),
        (("initech", "--source", "192.0.2.999"), "network"),
        (("initech", "--source", "192.0.2.1", "--title", "two\nlines"), "one line"),
    ],
)
def test_what_cannot_be_added_changes_nothing(
    place: Place, printed: Printed, words: tuple[str, ...], said: str
) -> None:
    before, keys = place.config.read_bytes(), sorted(place.keys.iterdir())
    assert said in printed("customer", "add", *words, status=2)[1]
    assert place.config.read_bytes() == before and sorted(place.keys.iterdir()) == keys


def test_a_name_whose_files_exist_is_not_added(place: Place, printed: Printed) -> None:
    (place.data / "customers" / "initech").mkdir()
    (place.data / "customers" / "initech" / "audit.jsonl").touch()
    assert "already has files" in printed("customer", "add", "initech", "--source", "192.0.2.1", status=2)[1]


def test_if_keys_cannot_be_made_the_table_is_taken_back(place: Place, printed: Printed) -> None:
    before = place.config.read_bytes()
    shutil.rmtree(place.keys)
    place.keys.touch()
    assert printed("customer", "add", "initech", "--source", "192.0.2.1", status=3)[1]
    assert place.config.read_bytes() == before


def test_a_new_title_or_state_is_in_the_file_and_the_audit_log(place: Place, answer: Answer) -> None:
    told = answer("customer", "title", "globex", "Globex SE")
    assert told == {"name": "globex", "state": "open", "receipt": None}
    assert answer("customer", "close", "globex") == {"name": "globex", "state": "closed", "receipt": None}
    assert answer("customer", "close", "globex")["state"] == "closed"
    made = load(place.config).customer("globex")
    assert made is not None and (made.title, made.state.value) == ("Globex SE", "closed")
    assert [act["action"] for act in place.acts("globex")] == ["customer.title", "customer.close"]
    assert place.run("customer", "close", "nobody") == 2


def test_people_see_the_title_of_a_customer(place: Place, printed: Printed) -> None:
    place.do(one_call, 1)
    assert place.run("customer", "title", "globex", "Globex SE") == 0
    assert "Globex SE (globex)" in printed("calls")[0]


# ---- remove ----
def test_a_customer_is_erased_and_proof_of_it_stays(place: Place, answer: Answer, printed: Printed) -> None:
    (row, _) = closed(place, one_call, permit)
    key_bytes = place.open("globex").secret(row.leaf, "details")
    told = answer("customer", "remove", "globex", "--yes")
    stays = place.data / "removed" / "globex"
    assert told == {"name": "globex", "state": "removed", "receipt": str(stays / "receipt.json")}
    assert load(place.config).customer("globex") is None
    assert not (place.data / "customers" / "globex").exists() and not list(place.keys.glob("globex.*"))
    names = ["audit.checkpoints", "audit.jsonl", "globex.audit", "globex.audit.count", "public.key", "receipt.json"]
    assert sorted(path.name for path in stays.iterdir()) == names
    left = everything(place.data)
    assert key_bytes not in left and b"Okafor" not in left
    receipt = json.loads((stays / "receipt.json").read_text())
    assert (receipt["calls"], receipt["cause"], receipt["customer"]) == ([row.id], "request", "globex")
    acts = [json.loads(line) for line in (stays / "audit.jsonl").read_text().splitlines()]
    assert [act["action"] for act in acts[-3:]] == ["customer.close", "customer.remove", "erasure.done"]
    assert acts[-2]["object"] == acts[-1]["object"] == receipt["erasure"]
    assert "Genuine: 1 call of globex" in printed("audit", "verify", "--receipt", str(stays / "receipt.json"))[0]
    checked = {each["customer"]: each["ok"] for each in answer("audit", "verify")["customers"]}
    assert checked == {"acme": True, "globex": True}
    assert answer("check-config", "--start")["ok"] and place.run("verify") == 0
    again = answer("customer", "remove", "globex", "--yes")
    assert again == told


def test_proof_that_was_changed_is_found(place: Place) -> None:
    closed(place)
    assert place.run("customer", "remove", "globex", "--yes") == 0
    stays = place.data / "removed" / "globex"
    for name in ("receipt.json", "audit.jsonl"):
        path = stays / name
        path.write_text(path.read_text().replace("globex", "initech", 1) if name == "receipt.json" else "")
    assert place.run("audit", "verify") == 1
    assert place.run("audit", "verify", "--receipt", str(stays / "receipt.json")) == 1


def test_the_name_of_a_removed_customer_is_not_given_again(place: Place, printed: Printed) -> None:
    closed(place)
    assert place.run("customer", "remove", "globex", "--yes") == 0
    assert "was removed" in printed("customer", "add", "globex", "--source", "192.0.2.1", status=2)[1]
    place.configure()  # somebody writes the table again
    assert "was removed" in printed("init", status=2)[1]
    assert not list(place.keys.glob("globex.*"))


async def hold(globex: Customer) -> None:
    row = await one_call(globex)
    await globex.holds.put(row.id, "court", "privacy")


@pytest.mark.parametrize(
    ("works", "said"),
    [((permit, hold), "under legal hold"), ((one_call,), "no waiver is active"), (None, "is not closed")],
    ids=["held", "not waived", "open"],
)
def test_a_customer_that_must_stay_is_not_removed(place: Place, printed: Printed, works: Any, said: str) -> None:
    if works is not None:
        closed(place, *works)
    before, text = everything(place.data / "customers" / "globex" / "vault"), place.config.read_bytes()
    assert said in printed("customer", "remove", "globex", "--yes", status=3)[1]
    assert everything(place.data / "customers" / "globex" / "vault") == before
    assert place.config.read_bytes() == text and not (place.data / "removed" / "globex").exists()


def test_no_customer_is_removed_where_erasures_need_approval(place: Place, printed: Printed) -> None:
    place.config.write_text(place.config.read_text() + "approve_erasures = true\n")
    closed(place, one_call, permit)
    assert "second person" in printed("customer", "remove", "globex", "--yes", status=3)[1]


def test_the_last_customer_is_not_removed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = Place(tmp_path)
    assert place.run("customer", "close", "acme") == 0
    assert place.run("customer", "remove", "acme", "--yes") == 2
    assert "only customer" in capsys.readouterr().err


def test_without_a_terminal_a_removal_needs_yes(place: Place, printed: Printed) -> None:
    closed(place)
    assert "--yes" in printed("customer", "remove", "globex", status=2)[1]
    assert load(place.config).customer("globex") is not None


def test_a_customer_that_a_process_has_open_is_not_erased(place: Place, answer: Answer) -> None:
    (row, _) = closed(place, one_call, permit)

    async def meanwhile(globex: Customer) -> None:
        told = await asyncio.to_thread(answer, "customer", "remove", "globex", "--yes", status=3)
        assert told == {"name": "globex", "state": "removing", "receipt": None}
        assert (await globex.calls.get(row.id)) is not None and globex.keys.keeps(row.leaf)

    place.do(meanwhile, 1)
    assert load(place.config).customer("globex") is None
    assert answer("check-config", "--start")["ok"]  # the folder without a table is no fault: a reload is the next step
    assert answer("customer", "remove", "globex", "--yes")["state"] == "removed"


def test_a_hold_set_between_the_two_runs_stops_the_removal(place: Place, answer: Answer, printed: Printed) -> None:
    before = place.config.read_text()
    (row, _) = closed(place, one_call, permit)

    async def meanwhile(globex: Customer) -> None:
        await asyncio.to_thread(answer, "customer", "remove", "globex", "--yes", status=3)
        await globex.holds.put(row.id, "court", "privacy")

    place.do(meanwhile, 1)
    assert "under legal hold" in printed("customer", "remove", "globex", "--yes", status=3)[1]
    assert "globex" in printed("check-config", "--start", status=2)[1]
    place.config.write_text(before)
    assert place.run("check-config", "--start") == 0 and place.open("globex").keeps(row.leaf)


def test_a_table_restored_during_a_removal_is_removed_again(
    place: Place, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (row, _) = closed(place, one_call, permit)
    before = place.config.read_text()

    def crash(*_: Any, **__: Any) -> None:
        raise OSError(5, "crash")

    with monkeypatch.context() as broken:
        broken.setattr("storage.customer.removal._empty", crash)
        assert place.run("customer", "remove", "globex", "--yes") == 3
    place.config.write_text(before)
    told = answer("customer", "remove", "globex", "--yes")
    assert json.loads(Path(told["receipt"]).read_text())["calls"] == [row.id]
    assert load(place.config).customer("globex") is None


STEPS = ["Database.remove", "_empty", "_prove", "_move_audit", "Path.unlink", "shutil.rmtree"]


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_at_any_step_is_finished_by_the_next_run(
    place: Place, answer: Answer, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    (row, _) = closed(place, one_call, permit)

    def crash(*_: Any, **__: Any) -> None:
        raise OSError(5, "crash")

    with monkeypatch.context() as broken:
        target = {"Path.unlink": "pathlib.Path.unlink", "shutil.rmtree": "shutil.rmtree"}.get(step)
        broken.setattr(target or f"storage.customer.removal.{step}", crash)
        assert place.run("customer", "remove", "globex", "--yes") == 3
    if step != "Path.unlink":  # by then not even the key that signs is left
        assert not place.open("globex").keeps(row.leaf)
    noted = Removal.read(place.data, "globex")
    assert noted is not None and noted.calls == (row.id,)
    assert answer("customer", "remove", "globex", "--yes")["state"] == "removed"
    receipt = json.loads((place.data / "removed/globex/receipt.json").read_text())
    assert receipt["calls"] == [row.id]
    assert place.run("audit", "verify") == 0
    assert not (place.data / "customers/globex").exists() and not list(place.keys.glob("globex.*"))


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A recorder as systemd runs it: its data belong to its own user, configuration and root secret to root."""
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else")
    with tempfile.TemporaryDirectory() as folder:  # unlike tmp_path, others may enter it
        place = Place(Path(folder), ("acme", "globex"))
        place.folder.chmod(0o755)
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", folder)
        text = place.config.read_text()
        place.config.write_text(text.replace(f'root = "file:{folder}/root.key"', 'root = "credential:root.key"'))
        place.config.chmod(0o640)
        os.chown(place.config, 0, NOBODY)
        for path in (place.data, *place.data.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        yield place


def test_files_that_root_makes_belong_to_the_recorders_user(service: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert service.run("customer", "add", "initech", "--source", "192.0.2.77/32") == 0
    assert service.run("customer", "title", "globex", "Globex SE") == 0
    assert service.run("customer", "close", "globex") == 0
    assert service.run("customer", "remove", "globex", "--yes") == 0, capsys.readouterr().err
    assert os.geteuid() == 0
    found = service.config.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (0, NOBODY, 0o640)
    assert {path.stat().st_uid for path in service.data.rglob("*")} == {NOBODY}
    assert (service.data / "removed/globex/receipt.json").exists()
