"""The audit log of several nodes through the API and on the page: the entries of all, with the node's name."""

import csv
import io
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from admin_api.http.permissions import Role
from storage.audit.audit_copies import AuditCopies
from storage.audit.audit_files import AuditFiles
from storage.audit.audit_log import Audit
from storage.audit.hash_chain import Act
from storage.customer.customers import KEYS, audit_key
from tests.admin_api.page.conftest import Browser
from tests.daemon.postgresql import cluster
from tests.in_process.api_service import Service

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Node rec1 of several, and what rec2 wrote before."""
    with cluster() as server:
        server.start()
        kind = type("Node", (Service,), {"database": server.url, "node": (1, "rec1")})
        made = kind(tmp_path_factory.mktemp("api"))
        made.run(of_another_node(made))
        yield made
        made.close()


async def of_another_node(service: Service) -> None:
    """Write entries on node rec2, and copy them."""
    acme, folder = service.customers["acme"], service.folder / "rec2"
    (folder / KEYS).mkdir(parents=True)
    audit = Audit(folder, folder / KEYS, "acme", audit_key(acme.keys), acme.now, 2)
    for number in range(3):
        audit.append(Act("bob", "listener", "call.view", service.ids["acme"][number])).result()
    files = AuditFiles(folder, folder / KEYS, "acme")
    await AuditCopies(acme.database, files, "acme", 2, audit.public_key, "rec2").push()
    audit.close()
    async with acme.database.writing() as connection:
        await connection.execute(sa.text("INSERT INTO journal_mark (node, line, label) VALUES (2, 0, 'rec2')"))


def test_the_auditor_sees_what_was_done_on_every_node(service):
    service.ask(f"/calls/{service.ids['acme'][1]}", "listener")
    items = service.ask("/audit?limit=100", "auditor").json()["items"]
    assert [item["time"] for item in items] == sorted((item["time"] for item in items), reverse=True)
    assert {"rec1", "rec2"} == {item["node"] for item in items}
    assert items[0]["node"] == "rec1" and items[-1]["node"] == "rec2"
    about = service.ask(f"/audit?object={service.ids['acme'][1]}", "auditor").json()["items"]
    assert [(item["node"], item["actor"][:4]) for item in about] == [("rec1", "acme"), ("rec2", "bob")]
    seen: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        page = service.ask(f"/audit?limit=2&actor=bob{cursor and f'&cursor={cursor}'}", "auditor").json()
        seen, cursor = [*seen, *(item["n"] for item in page["items"])], page["next_cursor"]
    assert seen == [4, 3, 2]
    assert service.ask("/audit?cursor=1.2", "auditor").status_code == 422


def test_the_file_names_the_node_of_each_entry(service):
    rows = list(csv.DictReader(io.StringIO(service.ask("/audit/file", "auditor").text.lstrip("\ufeff"))))
    assert {row["node"] for row in rows} == {"rec1", "rec2"}
    told = service.ask("/audit/file?format=json&actor=bob", "auditor").json()["items"]
    assert [item["node"] for item in told] == ["rec2"] * 3


def test_the_page_names_the_node_of_each_entry(service):
    browser = Browser(service, Role.AUDITOR)
    with browser.client:
        page = browser.get("/audit?actor=bob").text
    assert page.count("<bdi>rec2</bdi>") == 3 and "<bdi>rec1</bdi>" not in page


def test_a_single_machine_names_no_node(tmp_path):
    alone = Service(tmp_path)
    try:
        alone.ask("/calls", "listener")
        assert all("node" not in item for item in alone.ask("/audit", "auditor").json()["items"])
        assert "node" not in alone.ask("/audit/file", "auditor").text.splitlines()[0]
    finally:
        alone.close()
