"""Two recorders on one database: whoever signed in at one goes on at the other, and commands on one count on both."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from http.cookies import SimpleCookie
from pathlib import Path

import httpx2
import pytest

from recorder.access import totp
from recorder.config.loader import load
from recorder.persist.customers import open_customer
from tests.daemon.api import Api, running, until
from tests.daemon.object_stores import BUCKET, KEY, SECRET, object_store
from tests.daemon.postgresql import Cluster, cluster
from tests.in_process.shared_keys import admit
from tests.in_process.sign_in_service import field

PASSWORD = "a fine long passphrase"
SECOND = 20.0
"""Seconds within which a token that was made or revoked counts everywhere: one, and patience with a busy machine."""
ADMITTED = """
    INSERT INTO nodes (node, label, tree, instance, seen, state, epoch, indexed_until, seq)
    SELECT 2, 'rec2', tree, instance, 0, 'active', 0, 0, 0 FROM nodes WHERE node = 1
"""


class Browser:
    """A browser whose requests a load balancer sends to any node; keeps cookies, follows nothing by itself."""

    def __init__(self) -> None:
        self._cookies: dict[str, str] = {}

    def ask(self, node: Api, method: str, path: str, **form: str) -> httpx2.Response:
        """Send a request; browsers accept the page's cookies from loopback without TLS."""
        sent = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        headers = {"Cookie": sent, "Sec-Fetch-Site": "same-origin"}
        answer = httpx2.request(method, node.url + path, data=form or None, headers=headers, timeout=40)
        for line in answer.headers.get_list("set-cookie"):
            for name, morsel in SimpleCookie(line).items():
                self._cookies[name] = morsel.value
        return answer

    def get(self, node: Api, path: str) -> httpx2.Response:
        return self.ask(node, "GET", path)

    def post(self, node: Api, path: str, **form: str) -> httpx2.Response:
        return self.ask(node, "POST", path, **form)


@pytest.fixture
def database() -> Iterator[Cluster]:
    with cluster() as running_:
        running_.start()
        yield running_


@pytest.fixture
def store(tmp_path: Path) -> Iterator[int]:
    with object_store("rclone", tmp_path) as server:
        yield server.port


def configure(it: Api, database: str, store: int, node: str) -> None:
    """Have a node share a database and an object store."""
    folder = it.one.folder
    for name, secret in (("id", KEY), ("secret", SECRET)):
        (folder / name).write_text(secret)
        (folder / name).chmod(0o600)
    it.one.replace("[node]\n", f"[node]\n{node}\n")
    it.one.replace(
        "[keys]",
        f'[storage]\ndatabase = "{database}"\nmedia = "s3"\nendpoint = "http://127.0.0.1:{store}"\n'
        f'bucket = "{BUCKET}"\npath_style = true\n'
        f'access_key = "file:{folder}/id"\nsecret_key = "file:{folder}/secret"\n[keys]',
    )


def counts(node: Api, token: str) -> bool:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx2.get(f"{node.url}/api/v1/customers/acme/calls", headers=headers, timeout=40).status_code == 200


async def admit_second(first: Api) -> None:
    """Admit the second node, as a command of the first one does."""
    settings = load(first.one.config)
    customer = await open_customer(settings, settings.customers[0])
    try:
        await admit(customer, "rec2")
    finally:
        await customer.close()


@pytest.mark.torture
def test_a_person_and_a_token_are_known_to_both_nodes(tmp_path: Path, database: Cluster, store: int) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(running(tmp_path / "one", start=False))
        configure(first, database.url, store, 'name = "rec1"')
        first.one.start()
        made = first.one.run("admin", "create", "anna", "--role", "admin", "--role", "privacy", "--json")
        link = json.loads(made.stdout)["link"]
        assert counts(first, first.one.tokens["admin"])
        assert first.one.stop() == 0

        first.one.replace('name = "rec1"', 'name = "rec1"\nnumber = 1')
        first.one.start()
        first.one.until("access.taken_over")
        (taken,) = [line for line in first.one.lines() if line.get("event") == "access.taken_over"]
        assert sorted(taken["kind"]) == ["accounts", "tokens"]
        assert counts(first, first.one.tokens["admin"]), "the tokens of before"

        copy = tmp_path / "two"
        database.ask("recorder_acme", ADMITTED)
        asyncio.run(admit_second(first))
        shutil.copytree(first.one.data, copy / "data", ignore=shutil.ignore_patterns("*.holder", "*.lock"))
        for name in ("root.key", "tls.crt", "tls.key"):
            shutil.copy2(first.one.folder / name, copy)
        (copy / "run").mkdir()
        shutil.copy2(first.one.folder / "run" / "instance", copy / "run")
        second = stack.enter_context(running(copy, start=False))
        second.one.tokens = first.one.tokens
        configure(second, database.url, store, 'name = "rec2"\nnumber = 2')
        second.one.start()
        until(lambda: counts(second, first.one.tokens["admin"]))

        key = link.partition("key=")[2]
        anna = Browser()
        assert anna.get(second, f"/invitation?customer=acme&key={key}").status_code == 200
        page = anna.post(first, "/invitation", customer="acme", key=key, password=PASSWORD, again=PASSWORD)
        found = re.search(r'class="mono">([A-Z2-7]{32})<', page.text)
        assert found, page.text
        secret = found.group(1)
        step = totp.code_at(secret, int(datetime.now(UTC).timestamp()) // totp.STEP)
        codes = anna.post(second, "/sign-in/app", step=field(page, "step"), code=step)
        assert codes.status_code == 303
        assert anna.get(first, codes.headers["location"]).status_code == 200
        assert [anna.get(node, "/calls").status_code for node in (first, second, first)] == [200] * 3
        replay = Browser()
        page = replay.post(first, "/sign-in", customer="acme", name="anna", password=PASSWORD)
        answer = replay.post(second, "/sign-in/factor", step=field(page, "step"), code=step)
        assert answer.status_code == 403, "the code was used at the other node"

        words = ("--customer", "acme", "--role", "listener", "--name", "reports", "--json")
        token = json.loads(second.one.run("token", "create", *words).stdout)["token"]
        until(lambda: counts(first, token), SECOND)
        assert first.one.run("token", "revoke", "reports").returncode == 0
        until(lambda: not counts(second, token), SECOND)
        listed = json.loads(second.one.run("token", "list", "--json").stdout)["items"]
        assert [each["name"] for each in listed] == ["first-admin"]

        assert first.one.stop(signal.SIGKILL) < 0
        assert anna.get(second, "/calls").status_code == 200
        first.one.start()
        until(lambda: anna.get(first, "/calls").status_code == 200)
        assert second.one.run("admin", "disable", "anna").returncode == 0
        assert [anna.get(node, "/calls").status_code for node in (first, second)] == [303] * 2

        database.stop()
        headers = {"Authorization": f"Bearer {first.one.tokens['admin']}"}
        for node in (first, second):
            calls = f"{node.url}/api/v1/customers/acme/calls"
            assert httpx2.get(calls, headers=headers, timeout=40).status_code == 503, "known, but nothing is shown"
        database.start()
        until(lambda: counts(first, first.one.tokens["admin"]))
        time.sleep(SECOND)
        for node in (first, second):
            assert "access.replaced" not in node.one.events()
            assert node.one.stop() == 0
