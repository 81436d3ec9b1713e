"""Any of several nodes serves any page: what one did counts on the others, and nothing is accepted twice."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from admin_api.http.permissions import Role
from admin_api.page.framework import shared_sessions
from admin_api.page.framework.sessions import COOKIE, IDLE_SECONDS
from storage.database.database import DatabaseAway
from storage.database.schema import page_sessions, shared_files
from tests.admin_api.page.conftest import words
from tests.admin_api.page.framework.test_forms import form_of
from tests.admin_api.privacy.test_waiver import WAIVER
from tests.in_process.api_service import RESET
from tests.in_process.shared_keys import admit, settled
from tests.in_process.shared_service import SharedService
from tests.in_process.sign_in_service import PASSWORD, app_secret, field

pytestmark = pytest.mark.system
SAME = {"Sec-Fetch-Site": "same-origin"}


class Browser:
    """A browser in front of a load balancer: each request goes to the node that the test names."""

    def __init__(self, nodes: tuple[SharedService, SharedService], source: str = "127.0.0.1") -> None:
        self._nodes = nodes
        first, second = (httpx2.HTTPTransport(verify=node.client_context, local_address=source) for node in nodes)
        self.client = httpx2.Client(transport=first, mounts={nodes[1].base: second}, timeout=60)
        nodes[0].seen.append(self.client)

    def get(self, node: int, path: str, **more: Any) -> httpx2.Response:
        return self.client.get(self._nodes[node].base + path, **more)

    def post(self, node: int, path: str, form: dict[str, Any]) -> httpx2.Response:
        return self.client.post(self._nodes[node].base + path, data=form, headers=SAME)

    def sign_in(self, node: int, name: str = "anna", password: str = PASSWORD) -> httpx2.Response:
        return self.post(node, "/sign-in", {"customer": "acme", "name": name, "password": password})


Nodes = tuple[SharedService, SharedService]


@pytest.fixture(scope="module")
def started(postgresql: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    folder = tmp_path_factory.mktemp("nodes")
    first = SharedService(folder / "rec1", postgresql, 1)
    for customer in first.customers.values():
        first.run(admit(customer, "rec2"))
    left_out = shutil.ignore_patterns("*.crt", "*.key", "audit*", "papers.*", "*.holder", "*.lock")
    shutil.copytree(first.folder, folder / "rec2", ignore=left_out)
    second = SharedService(folder / "rec2", postgresql, 2)
    for node in (first, second):
        node.run(settled(*node.customers.values()))
    yield first, second
    second.close()
    first.close()


@pytest.fixture
def nodes(started: Nodes) -> Iterator[Nodes]:
    """Two nodes without accounts."""
    for node in started:
        node.empty()
    yield started
    for browser in started[0].seen:
        browser.close()
    assert not [*started[0].faults, *started[1].faults]


def later(nodes: Nodes, seconds: float) -> None:
    """Let time pass."""
    for node in nodes:
        node.later = SharedService.latest()
    for node in nodes:
        node.later += seconds


def test_a_session_continues_on_the_other_node(nodes: Nodes) -> None:
    nodes[0].settle()
    anna = Browser(nodes)
    assert anna.sign_in(0).headers["location"] == "/"
    for node in (1, 0, 1):
        assert anna.get(node, "/calls").status_code == 200
    place = f"/calls/{nodes[0].ids['acme'][0]}"
    form = {**form_of(anna.get(0, place), f"{place}/notes"), "text": "from one to the other"}
    assert anna.post(1, f"{place}/notes", form).headers["location"] == place
    assert "from one to the other" in anna.get(0, place).text
    nodes[0].restart()
    assert anna.get(0, "/calls").status_code == 200, "a restart signs nobody out"
    assert anna.post(1, "/sign-out", {}).headers["location"] == "/sign-in"
    assert anna.get(0, "/calls").headers["location"].startswith("/sign-in")


def test_a_form_is_accepted_once_over_all_nodes(nodes: Nodes) -> None:
    nodes[0].settle()
    anna, place = Browser(nodes), f"/calls/{nodes[0].ids['acme'][1]}"
    anna.sign_in(0)
    form = {**form_of(anna.get(0, place), f"{place}/notes"), "text": "what is right"}
    before = len(nodes[1].ask(place).json()["annotations"])
    with ThreadPoolExecutor(6) as pool:
        sent = [pool.submit(anna.post, turn % 2, f"{place}/notes", form) for turn in range(6)]
        assert {(each.result().status_code, each.result().headers["location"]) for each in sent} == {(303, place)}
    assert len(nodes[1].ask(place).json()["annotations"]) == before + 1
    refused = {**form_of(anna.get(1, place), f"{place}/notes"), "text": ""}
    assert anna.post(0, f"{place}/notes", refused).status_code == 422
    assert anna.post(1, f"{place}/notes", {**refused, "text": "now"}).headers["location"] == place
    other = {**form, "once": form["once"].replace("-", "0-")}
    assert anna.post(1, f"{place}/notes", other).status_code == 403


def test_a_form_whose_node_died_is_refused_and_a_new_one_taken(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes[0].settle()
    anna, place = Browser(nodes), f"/calls/{nodes[0].ids['acme'][1]}"
    anna.sign_in(0)
    page = anna.get(0, place)
    form = {**form_of(page, f"{place}/notes"), "text": "twice?"}
    with monkeypatch.context() as dying:

        async def never(*given: object) -> None:
            """Be dead before the outcome is written."""

        dying.setattr(shared_sessions.SharedSessions, "_keep", never)
        assert anna.post(0, f"{place}/notes", form).headers["location"] == place
    later(nodes, shared_sessions.TURN_SECONDS)
    assert anna.post(1, f"{place}/notes", form).status_code == 409
    again = {**form_of(anna.get(1, place), f"{place}/notes"), "text": "once"}
    assert anna.post(1, f"{place}/notes", again).headers["location"] == place
    assert anna.get(0, place).text.count("twice?") == 1


def test_wrong_passwords_spread_over_nodes_wait_as_on_one(nodes: Nodes) -> None:
    for name in ("anna", "ben"):
        nodes[0].settle(name)

    def attempts(name: str, source: str, order: tuple[int, ...]) -> list[tuple[int, list[int]]]:
        """Tell how each of ten was answered, and how long it waited."""
        found = []
        for turn in order:
            later(nodes, 0)
            status = Browser(nodes, source).sign_in(turn, name, "wrong").status_code
            found.append((status, [round(seconds) for seconds in nodes[turn].delays]))
            nodes[turn].delays.clear()
        return found

    alone = attempts("anna", "127.0.0.2", (0,) * 10)
    assert alone == [*[(403, [])] * 5, (403, [1]), (403, [2]), (403, [4]), (403, [8]), (429, [])]
    assert attempts("ben", "127.0.0.3", (0, 1) * 5) == alone
    assert attempts("nobody", "127.0.0.4", (1, 0) * 5) == alone, "unknown names wait as well"


def test_no_code_and_no_step_is_accepted_at_a_second_node(nodes: Nodes) -> None:
    secret, codes = nodes[0].app(nodes[0].settle())
    later(nodes, 0)
    both = [Browser(nodes), Browser(nodes)]
    steps = [field(browser.sign_in(node), "step") for node, browser in enumerate(both)]
    code = nodes[0].code(secret)
    assert both[0].post(1, "/sign-in/factor", {"step": steps[0], "code": code}).headers["location"] == "/"
    again = both[1].post(0, "/sign-in/factor", {"step": steps[1], "code": code})
    assert again.status_code == 403, "of the same code"
    step = field(again, "step")
    used = both[1].post(1, "/sign-in/factor", {"step": step, "code": codes[0]})
    assert used.headers["location"] == "/"
    third = Browser(nodes)
    step = field(third.sign_in(0), "step")
    with ThreadPoolExecutor(2) as pool:
        answers = list(
            pool.map(
                lambda node: Browser(nodes).post(node, "/sign-in/factor", {"step": step, "code": codes[1]}), (0, 1)
            )
        )
    assert sorted(each.status_code for each in answers) == [303, 403], "of the same step"
    late = Browser(nodes)
    assert late.post(0, "/sign-in/factor", {"step": step, "code": codes[2]}).status_code == 403


def test_wrong_codes_are_counted_together(nodes: Nodes) -> None:
    nodes[0].app(nodes[0].settle())
    anna = Browser(nodes)
    page, statuses = anna.sign_in(0), []
    for turn in range(7):
        page = anna.post(turn % 2, "/sign-in/factor", {"step": field(page, "step"), "code": "000000"})
        statuses.append(page.status_code)
    assert statuses == [403] * 5 + [429] * 2


def test_what_ends_sessions_ends_them_on_every_node_at_once(nodes: Nodes) -> None:
    id = nodes[0].settle()
    anna, elsewhere = Browser(nodes), Browser(nodes)
    for node, browser in enumerate((anna, elsewhere)):
        browser.sign_in(node)
    form = {**form_of(anna.get(0, "/account"), "/account/password"), "password": PASSWORD}
    new = "another fine passphrase"
    changed = anna.post(0, "/account/password", {**form, "new": new, "again": new})
    assert changed.headers["location"] == "/account?changed=password"
    assert anna.get(1, "/account").status_code == 200, "who changed it stays"
    assert elsewhere.get(1, "/account").status_code == 303
    nodes[1].customers["acme"].accounts.change(id, lambda account: account.ended(disabled=True))
    assert anna.get(0, "/account").status_code == 303


def test_a_session_whose_end_a_fail_over_lost_is_open_again(nodes: Nodes) -> None:
    """As docs/cluster.md says; a change of the account ends it nevertheless, for its copies know of that."""
    id = nodes[0].settle()
    anna = Browser(nodes)
    anna.sign_in(0)
    assert anna.get(1, "/calls").status_code == 200
    database = nodes[0].customers["acme"].database

    async def rows() -> list[dict[str, Any]]:
        async with database.reading() as connection:
            return [dict(row._mapping) for row in await connection.execute(page_sessions.select())]

    async def put_back(found: list[dict[str, Any]]) -> None:
        async with database.writing() as connection:
            await connection.execute(page_sessions.delete())
            await connection.execute(page_sessions.insert(), found)

    before, cookies = nodes[0].run(rows()), dict(anna.client.cookies)
    anna.post(1, "/sign-out", form_of(anna.get(1, "/calls"), "/sign-out"))
    anna.client.cookies.update(cookies)
    assert anna.get(0, "/calls").status_code == 303
    nodes[0].run(put_back(before))
    assert anna.get(0, "/calls").status_code == 200
    nodes[1].customers["acme"].accounts.change(id, lambda account: account.ended(disabled=True))
    assert anna.get(0, "/calls").status_code == 303


def test_a_one_time_link_works_once(nodes: Nodes) -> None:
    secret = nodes[0].invite()
    browser = Browser(nodes)
    form = {"customer": "acme", "key": secret, "password": PASSWORD, "again": PASSWORD}
    assert browser.get(1, f"/invitation?customer=acme&key={secret}").status_code == 200
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda node: Browser(nodes).post(node, "/invitation", form), (0, 1)))
    assert sorted(each.status_code for each in answers)[0] == 303
    assert sorted(each.status_code for each in answers)[1] in (404, 422)
    assert Browser(nodes).post(1, "/invitation", form).status_code == 404


def test_recovery_codes_are_shown_once_over_all_nodes(nodes: Nodes) -> None:
    nodes[0].settle()
    anna = Browser(nodes)
    anna.sign_in(0)
    form = {**form_of(anna.get(0, "/account"), "/account/app"), "password": PASSWORD}
    page = anna.get(0, anna.post(1, "/account/app", form).headers["location"])
    sent = {**form_of(page, "/account/app/code"), "code": nodes[1].code(app_secret(page))}
    codes = anna.post(1, "/account/app/code", sent).headers["location"]
    shown = anna.get(0, codes)
    assert shown.status_code == 200
    assert anna.get(1, codes).headers["location"] == "/account?changed=app"
    assert anna.post(0, "/account/app/code", sent).headers["location"] == codes, "the other one of two clicks"
    assert anna.get(1, codes).text == shown.text
    assert anna.get(0, codes).status_code == 303
    assert Browser(nodes).get(1, codes).headers["location"].startswith("/sign-in"), "to nobody else"


def test_an_idle_session_ends_on_every_node(nodes: Nodes) -> None:
    nodes[0].settle()
    anna, place = Browser(nodes), f"/calls/{nodes[0].ids['acme'][0]}"
    anna.sign_in(0)
    form = {**form_of(anna.get(1, place), f"{place}/notes"), "text": "too late"}
    later(nodes, IDLE_SECONDS - 100)
    assert anna.get(1, "/calls").status_code == 200
    later(nodes, IDLE_SECONDS - 100)
    assert anna.get(0, "/calls").status_code == 200, "seen by the other node"
    later(nodes, IDLE_SECONDS + 1)
    assert "Your session has ended" in words(anna.get(0, anna.get(1, "/calls").headers["location"]).text)
    old = anna.client.cookies[COOKIE]
    anna.sign_in(1)
    assert anna.client.cookies[COOKIE] != old
    assert anna.post(0, f"{place}/notes", form).headers["location"] == "/unsent", "a page of before is understood"
    waiting = anna.get(1, "/unsent")
    assert "too late" in waiting.text
    assert anna.post(0, f"{place}/notes", form_of(waiting, f"{place}/notes")).headers["location"] == place
    assert "Nothing is waiting" in words(anna.get(1, "/unsent").text)


def test_repeated_sign_ins_end_only_ones_own_sessions(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_sessions, "MAX_OF_ONE", 2)
    for name in ("anna", "ben"):
        nodes[0].settle(name)
    ben = Browser(nodes)
    ben.sign_in(0, "ben")
    hers = [Browser(nodes) for _ in range(4)]
    for turn, browser in enumerate(hers):
        browser.sign_in(turn % 2)
        later(nodes, 1)
    assert [each.get(0, "/calls").status_code for each in hers] == [303, 303, 200, 200]
    assert ben.get(1, "/calls").status_code == 200


def test_the_database_holds_nothing_that_opens_a_session(nodes: Nodes) -> None:
    nodes[0].settle()
    anna = Browser(nodes)
    anna.sign_in(0)
    anna.get(1, "/account")

    async def everything() -> bytes:
        async with nodes[0].customers["acme"].database.reading() as connection:
            rows = [*await connection.execute(sa.select(page_sessions))]
            files = [*await connection.execute(sa.select(shared_files))]
        assert len(rows) >= 2
        return b"".join([each.key + each.content for each in rows] + [each.content for each in files])

    stored = nodes[0].run(everything())
    customer, _, secret = anna.client.cookies[COOKIE].partition(".")
    assert customer == "acme"
    for hidden in (b"anna", b"csrf", secret.encode(), bytes.fromhex(secret)[:32], b"admin"):
        assert hidden not in stored
    for forged in (f"acme.{secret[:-1]}x", f"beta.{secret}", f"nobody.{secret}", secret, "", "acme."):
        stranger = Browser(nodes)
        stranger.client.cookies.set(COOKIE, forged)
        assert stranger.get(1, "/calls").status_code == 303


def test_an_unavailable_database_gives_503_and_signs_nobody_out(nodes: Nodes) -> None:
    nodes[0].settle()
    anna = Browser(nodes)
    anna.sign_in(0)
    database = nodes[1].customers["acme"].database
    database.refuse()
    try:
        assert anna.get(1, "/calls").status_code == 503
        assert nodes[1].ask("/calls").status_code == 503
        assert anna.sign_in(1).status_code == 503
        stranger = Browser(nodes)
        stranger.client.cookies.set(COOKIE, "acme." + 96 * "0")
        assert stranger.get(1, "/calls").status_code == 303, "a made-up cookie reaches no database"
    finally:
        database.serve()
    assert {type(fault) for fault in nodes[1].faults} == {DatabaseAway}
    nodes[1].faults.clear()
    assert anna.get(1, "/calls").status_code == 200


def test_a_single_node_loads_no_code_for_several() -> None:
    code = (
        "import sys, recorder.access.api_server, admin_api.assembly.page_app, recorder.calls.databases, "
        "storage.customer.wiring, storage.access.accounts, recorder.cli.accounts, recorder.persist.customers\n"
        "print([name for name in sys.modules if '.shared_' in name])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_node_stops_sending_what_another_erases(nodes: Nodes) -> None:
    """A slow reader of a long call gets no more of it, also from a node that did not erase it."""
    one, other = nodes
    call = one.ids["beta"][1]
    other.daemon.long, other.daemon.sound = True, bytes(32 << 20)
    where = f"/api/v1/customers/beta/calls/{call}/media"
    headers = {"Authorization": f"Bearer {other.tokens['beta'][Role.ADMIN]}"}
    with other.client.stream("GET", where, headers=headers) as got:
        sound = got.iter_raw(1 << 16)
        next(sound)
        other.ask("/waiver", method="PUT", customer="beta", json=WAIVER)
        asked = other.ask("/erasures", method="POST", customer="beta", json={"calls": [call], "reason": "she asked"})
        one.run(one.customers["beta"].erasures.work())
        holder = other.customers["beta"].holder
        assert asked.status_code == 202 and not other.daemon.streams[-1].closed and holder is not None
        other.run(holder.turn())
        assert not other.customers["beta"].vault.in_use.any()
        with pytest.raises(RESET):
            b"".join(sound)
    assert other.daemon.streams[-1].closed
