"""What a start needs, checked all at once and without touching anything."""

from __future__ import annotations

import shutil
import socket
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from recorder.config.faults import Fault
from recorder.maintenance.bootstrap import certificate
from recorder.persist.checkpoint_file import VERSION, Slots
from recorder.runtime.folders import in_memory
from recorder.service.start_check import check_start
from tests.daemon.postgresql import cluster
from tests.daemon.server import Server, server, taken

HOSTS = ["rec.example"]
NOWHERE = 'database = "postgresql+asyncpg://rec@127.0.0.1:1/recorder_{customer}"'


@pytest.fixture
def ready(tmp_path: Path) -> Iterator[Server]:
    """A place where everything is prepared for a start."""
    with server(tmp_path) as one:
        one.init()
        yield one


def faults(one: Server) -> list[Fault]:
    return list(check_start(one.config)[1])


def configured(old: str, new: str) -> Callable[[Server], object]:
    return lambda one: one.replace(old, new)


def added(lines: str) -> Callable[[Server], object]:
    return lambda one: one.config.write_text(f"{one.config.read_text()}\n{lines}\n")


def overlap(one: Server) -> None:
    one.replace(f"udp:127.0.0.1:{one.udp}", f"udp:127.0.0.1:{one.media + 2}")


def expired(one: Server) -> None:
    public, private = certificate(HOSTS, datetime(2020, 1, 1, tzinfo=UTC))
    (one.folder / "tls.crt").write_bytes(public)
    (one.folder / "tls.key").write_bytes(private)


def other_key(one: Server) -> None:
    (one.folder / "tls.key").write_bytes(certificate(HOSTS)[1])


def newer_call(one: Server) -> None:
    with closing(Slots(one.folder / "run" / "live")) as slots:
        slots.take().write(b'{"v":%d,"call":"c","program":"9.0.0"}' % (VERSION + 1), b"sealed")


def newer_data(one: Server) -> None:
    (one.data / "formats.json").write_text('{"version": "9.0.0", "formats": {"journal": 99, "audit": 1}}')


FAULTS = [
    ("unknown key", configured("workers", "wokers"), "media.wokers", "did you mean workers?", 2),
    ("wrong type", configured("workers = 1", 'workers = "one"'), "media.workers", "a whole number", 2),
    ("missing file", lambda one: (one.folder / "tls.key").unlink(), "sip.private_key", "No such file", 2),
    ("wrong permission", lambda one: (one.folder / "root.key").chmod(0o644), "keys.root", "chmod 600", 2),
    (
        "duplicate customer",
        added('[[customer]]\nname = "acme"\nsources = ["192.0.2.1"]'),
        "customer[1].name",
        "the same as in customer[0]",
        2,
    ),
    ("bad CIDR", configured("127.0.0.0/8", "127.0.0.1/8"), "customer[0].sources[0]", '"127.0.0.0/8"', 2),
    ("port range overlap", overlap, "media.ports", "which sip.listen uses", 2),
    (
        "listeners that overlap",
        lambda one: one.replace(f"tcp:127.0.0.1:{one.udp}", f"tls:0.0.0.0:{one.tls}"),
        "sip.listen[2]",
        "above takes this one",
        2,
    ),
    ("missing data folder", lambda one: shutil.rmtree(one.data), "node.data_dir", "recorder init", 3),
    (
        "new customer without keys",
        added('[[customer]]\nname = "newcomer"\nsources = ["192.0.2.1"]'),
        "customer[1].name",
        "recorder init",
        3,
    ),
    (
        "folder of a customer that is not configured",
        lambda one: (one.data / "customers" / "globex").mkdir(),
        "customer.globex",
        'name = "globex"',
        2,
    ),
    ("expired certificate", expired, "sip.certificate", "expired on 2022-", 2),
    ("key that does not fit", other_key, "sip.certificate", "belongs to private_key", 2),
    ("unreachable database", added(f"[storage]\n{NOWHERE}"), "storage.database", "ConnectionRefusedError", 3),
    (
        "wrong sslmode",
        added("[storage]\n" + NOWHERE.replace('}"', '}?sslmode=on"')),
        "storage.database",
        "verify-full",
        2,
    ),
    ("live state of a newer version", newer_call, "node.runtime_dir", "1, of state 3 (version 9.0.0)", 3),
    ("data of a newer version", newer_data, "node.data_dir", "newer version: journal 99 (version 9.0.0)", 3),
    (
        "root secret of another installation",
        lambda one: (one.folder / "root.key").write_bytes(bytes(32)),
        "keys.root",
        "restore it",
        3,
    ),
]


@pytest.mark.parametrize(
    ("spoil", "key", "says", "status"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS]
)
def test_a_fault_is_named_with_its_key_and_what_to_do(
    ready: Server, spoil: Callable[[Server], object], key: str, says: str, status: int
) -> None:
    assert faults(ready) == []
    spoil(ready)
    (fault, *more) = faults(ready)
    assert (fault.key, fault.status) == (key, status)
    assert says in str(fault)
    assert {each.key for each in more} <= {"customer[1].sources"}


def test_a_driver_that_is_not_installed_is_named(ready: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    added(f"[storage]\n{NOWHERE}")(ready)
    (fault,) = faults(ready)
    assert fault.key == "storage.database"
    assert "asyncpg is not installed" in fault.found and "make -C " in fault.right and fault.status == 3


def test_a_runtime_folder_on_a_disk_is_named(ready: Server) -> None:
    if in_memory(ready.folder):
        pytest.skip("this folder is on a tmpfs")
    ready.replace("trial = true", "trial = false")
    newer_call(ready)
    assert [(fault.key, fault.status) for fault in faults(ready)] == [("node.runtime_dir", 2), ("node.runtime_dir", 3)]


@pytest.mark.parametrize("transport", ["udp", "tcp", "api"])
def test_a_port_of_another_program_is_named(ready: Server, transport: str) -> None:
    with taken(ready, transport) as port:
        (fault,) = faults(ready)
    assert fault.key == {"udp": "sip.listen[0]", "tcp": "sip.listen[1]", "api": "admin_api.listen"}[transport]
    assert f"sport = :{port}" in fault.right and fault.status == 3


def test_faults_of_every_kind_come_in_one_report(ready: Server) -> None:
    added('[[customer]]\nname = "newcomer"\nsources = ["192.0.2.1/24"]\n[storage]\n' + NOWHERE)(ready)
    configured("workers = 1", "workers = true")(ready)
    other_key(ready)
    (ready.data / "customers" / "globex").mkdir()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ready.tls))
        taken.listen()
        found = faults(ready)
    assert {fault.key for fault in found} == {
        "customer[1].sources[0]", "customer[1].name", "storage.database", "media.workers", "sip.certificate",
        "customer.globex", "sip.listen[2]",
    }  # fmt: skip
    lines = [fault.line or 0 for fault in found]
    assert lines == sorted(lines) and len(set(lines)) == 7


def test_a_wrong_value_is_not_checked_as_its_default(ready: Server) -> None:
    text = ready.config.read_text().replace(f'data_dir = "{ready.data}"', 'data_dir = "here"')
    ready.config.write_text(text)
    assert "node.data_dir" in {fault.key for fault in faults(ready)}
    assert not any("/var/lib/recorder" in str(fault) for fault in faults(ready))


def test_a_certificate_is_reported_once(ready: Server) -> None:
    (ready.folder / "tls.crt").write_text("not a certificate")
    assert [fault.key for fault in faults(ready)] == ["sip.certificate"]


def test_one_customer_with_damaged_keys_is_named(ready: Server) -> None:
    for name in ("acme.tree.0", "acme.tree.1"):
        (ready.data / "keys" / name).write_bytes(bytes(100))
    (ready.data / "customers" / "acme" / "tree.state").unlink()
    (fault,) = faults(ready)
    assert fault.key == "customer[0].name"
    assert "does not open" in str(fault) and "to correct it: restore" in str(fault)


def test_a_newer_database_is_named(ready: Server) -> None:
    with closing(sqlite3.connect(ready.data / "customers" / "acme" / "index.sqlite3")) as index:
        index.execute("CREATE TABLE alembic_version (version_num)")
        index.execute("INSERT INTO alembic_version VALUES ('9999')")
        index.commit()
    (fault,) = faults(ready)
    assert fault.key == "storage.database" and "newer program" in str(fault)
    (ready.data / "customers" / "acme" / "index.sqlite3").write_bytes(b"not a database" * 100)
    (fault,) = faults(ready)
    assert "is damaged" in str(fault)


def test_nothing_changes_on_the_disk(ready: Server) -> None:
    def looks() -> dict[str, tuple[int, int, int]]:
        found = {str(each): each.lstat() for each in (ready.folder, *ready.folder.rglob("*"))}
        return {path: (each.st_mtime_ns, each.st_size, each.st_mode) for path, each in found.items()}

    before = looks()
    faults(ready)
    assert looks() == before
    (ready.folder / "run").mkdir(mode=0o777)
    before = looks()
    faults(ready)
    assert looks() == before


def test_what_postgresql_refuses_is_named(ready: Server) -> None:
    port = ready.tls  # nobody listens there yet
    with cluster(f"-c listen_addresses=127.0.0.1 -c port={port}") as server:
        server.start()
        added('[storage]\ndatabase = ""')(ready)

        def asked(url: str) -> list[str]:
            text = ready.config.read_text()
            ready.config.write_text(text[: text.index("database =")] + f'database = "{url}"\n')
            return [str(fault) for fault in faults(ready) if fault.key == "storage.database"]

        place = f"postgresql+asyncpg://rec@127.0.0.1:{port}/recorder_{{customer}}"
        assert asked(place) == []
        assert "offers no TLS" in asked(f"{place}?sslmode=require")[0]
        assert asked(f"{place}?sslmode=prefer") == []
        assert "TypeError" in asked(f"{place}?colour=red")[0]
