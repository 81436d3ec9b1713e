"""Real calls get their users: those of before the import and those after it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.daemon.api import running, until
from tests.daemon.coded_calls import record


def test_a_call_names_its_user_whenever_the_user_came_f6(tmp_path: Path) -> None:
    with running(tmp_path) as it:
        one = it.one

        def recorded() -> dict[str, Any]:
            return record(it)[0]

        def users(call: str) -> list[str | None]:
            return [party["user_id"] for party in it.get(f"/calls/{call}").json()["parties"]]

        before = recorded()
        assert set(users(before["id"])) == {None}
        number = next(party["number"] or party["uri"] for party in before["parties"])
        people = tmp_path / "people.csv"
        uri = before["parties"][0]["uri"]
        people.write_text(f"first_name,account_name,numbers,addresses\nAnna,anna,{number},{uri}\n")
        done = one.run("directory", "import", people, "--customer", "acme")
        assert done.returncode == 0, done.stderr
        (anna,) = it.get("/users?q=anna").json()["items"]
        until(lambda: anna["id"] in users(before["id"]))
        after = recorded()
        until(lambda: anna["id"] in users(after["id"]))
        found = {call["id"] for call in it.get(f"/calls?party={anna['id']}").json()["items"]}
        assert found == {before["id"], after["id"]}
