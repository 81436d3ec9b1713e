"""A database that is away, at the start or later, loses no recording, and the index catches up with each once."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.daemon.postgresql import cluster
from tests.daemon.server import Server, server

CAUGHT_UP = 10.0  # seconds after the database is back, which the torture insists on
SECONDS = 30.0  # that a busy machine may take
SHORT, LONG = 2, 15
MINUTE = 60.0


class Watched:
    """A server, its API and what calls it."""

    def __init__(self, one: Server, token: str) -> None:
        self.one = one
        self._headers = {"Authorization": f"Bearer {token}"}

    def ask(self, path: str) -> httpx2.Response:
        url = f"http://{self.one.host}:{self.one.api}{path}"
        return httpx2.get(url, headers=self._headers, timeout=40.0)

    def calls(self) -> list[dict[str, Any]] | None:
        answer = self.ask("/api/v1/customers/acme/calls")
        return answer.json()["items"] if answer.status_code == 200 else None

    def call(self, seconds: int) -> subprocess.Popen[str]:
        """Place one call."""
        to = f"sip:rec@{self.one.host}:{self.one.udp};transport=udp"
        words = ["simulate", "--to", to, "--calls", "1", "--duration", str(seconds), "--json"]
        line = [sys.executable, "-m", "recorder", *words]
        return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def until(self, true: Callable[[], bool], seconds: float) -> None:
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, self.one.log.read_text()[-3000:]
            time.sleep(0.1)

    def states(self) -> list[str]:
        return [call["state"] for call in self.calls() or ()]


def ended(call: subprocess.Popen[str]) -> None:
    out, err = call.communicate(timeout=60)
    assert call.returncode == 0, out + err


def configured(one: Server, url: str) -> None:
    one.config.write_text(one.config.read_text() + f'[storage]\ndatabase = "{url}"\n')


def test_a_database_that_is_away_at_the_start_and_later(tmp_path: Path) -> None:
    with cluster() as postgresql, server(tmp_path, level="info") as one:
        configured(one, postgresql.url)
        it = Watched(one, one.init())
        one.start()
        answer = it.ask("/api/v1/customers/acme/calls")
        assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
        assert it.ask("/readyz").status_code == it.ask("/healthz").status_code == 200
        ended(it.call(SHORT))
        live = it.call(LONG)
        postgresql.start()
        it.until(lambda: sorted(it.states()) == ["complete", "recording"], SECONDS)
        assert one.events().count("database.back") == 1

        postgresql.stop()
        ended(live)
        second = it.call(SHORT)
        ended(second)
        assert it.calls() is None
        postgresql.start()
        it.until(lambda: it.states() == ["complete"] * 3, SECONDS)
        found = it.calls() or []
        assert len({call["id"] for call in found}) == len({call["session_id"] for call in found}) == 3
        for call in found:
            assert [stream["lost"] for stream in call["streams"]] == [0, 0]
            assert min(stream["packets"] for stream in call["streams"]) >= 50 * SHORT * 0.8
        it.until(lambda: postgresql.ask("recorder_acme", "select count(*) from calls") == "3", SECONDS)
        assert one.stop() == 0
        assert one.run("verify").returncode == 0


@pytest.mark.torture
def test_torture_a_minute_without_the_database(tmp_path: Path) -> None:
    with cluster() as postgresql, server(tmp_path, level="info") as one:
        configured(one, postgresql.url)
        it = Watched(one, one.init())
        postgresql.start()
        one.start()
        through = it.call(int(MINUTE) + 10)
        it.until(lambda: it.states() == ["recording"], CAUGHT_UP)
        postgresql.stop()
        back = time.monotonic() + MINUTE
        placed = [through]
        while time.monotonic() < back:
            placed.append(it.call(SHORT))
            assert it.ask("/readyz").status_code == 200
            time.sleep(5)
        for call in placed[1:]:
            ended(call)
        assert it.calls() is None
        postgresql.start()
        it.until(lambda: sorted(it.states()) == ["complete"] * (len(placed) - 1) + ["recording"], CAUGHT_UP)
        ended(through)
        it.until(lambda: it.states() == ["complete"] * len(placed), CAUGHT_UP)
        found = it.calls() or []
        assert len({call["session_id"] for call in found}) == len(placed) > MINUTE / 10
        assert all(stream["lost"] == 0 and stream["gap_ms"] == 0 for call in found for stream in call["streams"])
        rows = postgresql.ask("recorder_acme", "select count(*), count(distinct id) from calls")
        assert rows == f"{len(placed)}|{len(placed)}"
        assert one.stop() == 0
        assert one.run("verify").returncode == 0


@pytest.mark.parametrize("how", ["damaged", "locked"])
def test_a_sqlite_that_cannot_be_opened_at_the_start(tmp_path: Path, how: str) -> None:
    with server(tmp_path, level="info") as one:
        it = Watched(one, one.init())
        file = one.data / "customers" / "acme" / "index.sqlite3"
        free = damage(file) if how == "damaged" else lock(file)
        one.start()
        assert it.ask("/api/v1/customers/acme/calls").status_code == 503
        ended(it.call(SHORT))
        free()
        it.until(lambda: it.states() == ["complete"], SECONDS)
        assert one.stop() == 0
        assert one.run("verify").returncode == 0


def damage(file: Path) -> Callable[[], None]:
    """Put something else in the place of a database; gives what takes it away again."""
    file.write_bytes(b"no database at all" * 1000)
    return file.unlink


def lock(file: Path) -> Callable[[], None]:
    """Hold a database as another program would."""
    import sqlite3

    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    return other.close
