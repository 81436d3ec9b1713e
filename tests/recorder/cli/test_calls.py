"""calls, export, verify, recover on a place without calls, and how times are read."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from recorder.cli import export, main
from recorder.cli.calls import moment
from recorder.config.loader import load
from recorder.errors import WrongUse
from recorder.maintenance.cli_audit import actor
from recorder.persist.customers import open_customer
from recorder.persist.instance_lock import node_lock
from storage.journal.index_gap import Gap
from tests.in_process.command_line import Place
from tests.in_process.storage_node import record

NOBODY = "11111111-2222-4333-8444-555555555555"


@pytest.fixture
def config(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    path = str(tmp_path / "recorder.toml")
    assert main.run(["init", "--config", path]) == 0
    capsys.readouterr()
    return path


def test_nothing_is_an_answer_too(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["calls"], ["verify"], ["recover"]):
        assert main.run([*words, "--config", config]) == 0
        assert capsys.readouterr().out
        assert main.run([*words, "--json", "--config", config]) == 0
        json.loads(capsys.readouterr().out)


def test_a_list_from_an_index_that_is_filled_up_says_so(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    read = load(Path(config))
    (own,) = [customer.name for customer in read.customers]
    gap = Gap(read.node.data_dir / "customers" / own)
    gap.widen(20_000)
    assert main.run(["calls", "--json", "--config", config]) == 0
    assert json.loads(capsys.readouterr().out) == {"items": [], "incomplete": True}
    assert main.run(["calls", "--config", config]) == 0
    assert f"{own}: calls may be missing." in capsys.readouterr().err
    gap.close()
    assert main.run(["calls", "--json", "--config", config]) == 0
    assert json.loads(capsys.readouterr().out) == {"items": []}


@pytest.mark.parametrize(("option", "right"), [("state", "interrupted"), ("direction", "outbound")])
def test_an_invalid_call_filter_names_the_valid_ones(
    config: str, capsys: pytest.CaptureFixture[str], option: str, right: str
) -> None:
    assert main.run(["calls", f"--{option}", "sideways", "--config", config]) == 2
    assert right in capsys.readouterr().err
    assert main.run(["calls", f"--{option}", right, "--no-hold", "--source", "192.0.2.7", "--config", config]) == 0


@pytest.mark.parametrize("words", [["verify", NOBODY], ["export", NOBODY, "-o", "/tmp/never.wav"]])
def test_an_unknown_call_is_no(config: str, words: list[str]) -> None:
    assert main.run([*words, "--config", config]) == 1


def test_an_unknown_call_stands_in_the_document(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["verify", NOBODY, "--json", "--config", config]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["missing"], told["defects"]) == (False, [NOBODY], [])


def test_a_foreign_database_is_reported_as_a_defect(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    place = Path(config)
    text = place.read_text()
    (own,) = [customer.name for customer in load(place).customers]
    place.write_text(text + '\n[[customer]]\nname = "zeta"\nsources = ["198.51.100.0/24"]\n')
    assert main.run(["init", "--config", config]) == main.run(["verify", "--config", config]) == 0
    capsys.readouterr()
    folder = load(place).node.data_dir / "customers"
    (folder / own / "index.sqlite3").write_bytes((folder / "zeta" / "index.sqlite3").read_bytes())
    assert main.run(["verify", "--json", "--config", config]) == 1
    (defect,) = json.loads(capsys.readouterr().out)["defects"]
    assert (defect["customer"], defect["call"]) == (own, "")
    assert defect["kind"] == f"the database of customer {own} belongs to another customer"
    (folder / "zeta" / "index.sqlite3").write_bytes(b"no database at all" * 100)
    assert main.run(["verify", "--json", "--config", config]) == 1
    assert {each["customer"] for each in json.loads(capsys.readouterr().out)["defects"]} == {own, "zeta"}
    assert main.run(["calls", "--config", config]) == 3, "only a verification looks on"


def test_recover_leaves_a_running_daemon_alone(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    with node_lock(load(Path(config))) as held:
        assert held
        assert main.run(["recover", "--config", config]) == 3
    assert "daemon is running" in capsys.readouterr().err


def test_times_in_every_spelling() -> None:
    assert moment(None) is None
    assert moment("2026-03-01") == datetime(2026, 3, 1, tzinfo=UTC)
    assert moment("2026-03-01T12:00:00Z") == datetime(2026, 3, 1, 12, tzinfo=UTC)
    before = datetime.now(UTC)
    ago = moment("2h")
    assert ago
    assert before <= ago + timedelta(hours=2) <= datetime.now(UTC)
    for wrong in ("yesterday", "", "99999999999999d"):
        with pytest.raises(WrongUse):
            moment(wrong)


def test_searches_and_exports_are_audited_without_their_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Place(tmp_path)
    call = asyncio.run(one_call(place))
    assert place.run("calls", "--party", "Mira Okafor", "--json") == 0
    assert json.loads(capsys.readouterr().out)["items"][0]["id"] == call
    assert place.run("export", call, "-o", str(tmp_path / "call.wav")) in (0, 1, 3)
    assert place.run("export", NOBODY, "--customer", "acme", "-o", str(tmp_path / "x.wav")) == 1
    assert place.run("export", "Mira Okafor", "--customer", "acme", "-o", str(tmp_path / "x.wav")) == 1
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


def test_an_exports_omissions_are_printed_safely_on_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path)
    call = asyncio.run(one_call(place))

    async def written(customer: object, call: str, form: str, to: Path) -> dict[str, object]:
        to.write_bytes(b"RIFF")
        return {"call": call, "caveat": "Silence stands for EVS\x1b[2J."}

    monkeypatch.setattr(export, "export_call", written)
    for more in ([], ["--json"]):
        assert place.run("export", call, "-o", str(tmp_path / f"{len(more)}.wav"), *more) == 0
        told = capsys.readouterr()
        assert "Silence stands for EVS" in told.err and "\x1b" not in told.err + told.out


async def one_call(place: Place) -> str:
    acme = await open_customer(place.settings(), place.settings().customers[0])
    try:
        return (await record(acme)).id
    finally:
        await acme.close()
