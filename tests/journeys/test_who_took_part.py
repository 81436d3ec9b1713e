"""Real calls get their users: those of before the import, those after it, and those of the next start."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx2

from recorder.simulate.plan import Plan
from tests.daemon.coded_calls import Watched, place
from tests.daemon.server import server


def test_a_call_names_its_user_whenever_the_user_came_f6(tmp_path: Path) -> None:
    with server(tmp_path) as one:
        token = one.init()
        one.start()
        it = Watched(one, token)
        to = f"sip:rec@127.0.0.1:{one.udp};transport=udp"

        def recorded() -> dict[str, Any]:
            (call,) = place([Plan(to=to, seconds=1.0)])
            assert call.status == 200
            return it.over([call])[call.session_id]

        def users(call: str) -> list[str | None]:
            return [party["user_id"] for party in it.ask(f"/calls/{call}").json()["parties"]]

        before = recorded()
        assert set(users(before["id"])) == {None}
        number = next(party["number"] or party["uri"] for party in before["parties"])
        people = tmp_path / "people.csv"
        uri = before["parties"][0]["uri"]
        people.write_text(f"first_name,account_name,numbers,addresses\nAnna,anna,{number},{uri}\n")
        done = one.run("directory", "import", people, "--customer", "acme")
        assert done.returncode == 0, done.stderr
        (anna,) = it.ask("/users?q=anna").json()["items"]
        asyncio.run(it.until(lambda: anna["id"] in users(before["id"])))
        after = recorded()
        asyncio.run(it.until(lambda: anna["id"] in users(after["id"])))
        found = {call["id"] for call in it.ask(f"/calls?party={anna['id']}").json()["items"]}
        assert found == {before["id"], after["id"]}

        one.stop()
        sound = one.run("verify", "--customer", "acme")
        assert sound.returncode == 0, sound.stdout + sound.stderr
        one.start()
        later = recorded()
        asyncio.run(it.until(lambda: anna["id"] in users(later["id"])))
        base = f"http://{one.api_host}:{one.api}/api/v1/customers/acme/users/{anna['id']}"
        refused = httpx2.delete(base, headers={"Authorization": f"Bearer {token}"})
        assert refused.status_code == 409
        log = one.log.read_text()
        assert "correlation.ready" in log and "anna" not in log.lower() and number not in log
