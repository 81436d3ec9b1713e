"""A client for the API of a running daemon, with several people's tokens, and checks of its calls."""

from __future__ import annotations

import asyncio
import hashlib
import struct
import time
from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from recorder.simulate.coded import Found, find
from recorder.simulate.report import CallReport
from tests.daemon.descriptor_store import descriptor_store
from tests.daemon.server import Server, files, own_place, server

SECONDS = 40.0
"""Time limit for steps that a busy machine may delay."""
WAIVER = {
    "document_sha256": "5a" * 32,
    "signed_by": "Example Ltd",
    "signed_at": "2026-01-01T00:00:00Z",
    "scope": "erasure on request",
    "expires_at": "2099-01-01T00:00:00Z",
}
WHY = {"reason": "Art. 17 request of Mr Planted"}


def until(true: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """Wait until the function returns something true, and return that."""
    end = time.monotonic() + seconds
    while not (found := true()):
        if time.monotonic() > end:
            raise TimeoutError("it never came to that")
        time.sleep(0.05)
    return found


@dataclass
class Api:
    """A server and its clients, each with the token of a role."""

    one: Server
    customer: str = "acme"
    role: str = "admin"  # the client's role, unless a call names another one

    @property
    def url(self) -> str:
        """The base URL of the API."""
        return f"http://{self.one.api_host}:{self.one.api}"

    def ask(self, method: str, path: str, role: str = "", **more: Any) -> httpx2.Response:
        """Send one request below the customer."""
        headers = {"Authorization": f"Bearer {self.one.token(role or self.role)}", **more.pop("headers", {})}
        url = f"{self.url}/api/v1/customers/{self.customer}{path}"
        return httpx2.request(method, url, headers=headers, **{"timeout": SECONDS, **more})

    def get(self, path: str, role: str = "") -> httpx2.Response:
        """GET a path below the customer."""
        return self.ask("GET", path, role)

    def health(self, path: str) -> int:
        """Return the status of /healthz or /readyz."""
        return httpx2.get(self.url + path, timeout=SECONDS).status_code

    def calls(self, timeout: float = SECONDS) -> list[dict[str, Any]]:
        """Return all calls, newest first; none while the daemon does not answer or the index is not open yet."""
        found, page = list[dict[str, Any]](), "/calls?limit=500"
        while True:
            try:
                answer = self.ask("GET", page, timeout=timeout)
            except httpx2.TransportError:
                return []
            if answer.status_code == httpx2.codes.SERVICE_UNAVAILABLE:
                return []
            found += answer.json()["items"]
            if (cursor := answer.json()["next_cursor"]) is None:
                return found
            page = f"/calls?limit=500&cursor={cursor}"

    def ended(self, count: int = 1) -> list[dict[str, Any]]:
        """Wait until `count` calls have ended, and return them, newest first."""

        def found() -> list[dict[str, Any]]:
            over = [call for call in self.calls() if call["state"] != "recording"]
            return over if len(over) >= count else []

        calls: list[dict[str, Any]] = until(found)
        assert len(calls) == count
        return calls

    def figure(self, name: str) -> float:
        """Return one value of the metrics; 0 while the daemon does not answer."""
        try:
            page = httpx2.get(f"{self.url}/metrics", timeout=SECONDS).text
        except httpx2.TransportError:
            return 0
        return sum(float(line.split()[1]) for line in page.splitlines() if line.startswith(name + " "))

    async def until(self, true: Callable[[], Any], seconds: float = SECONDS) -> None:
        """Wait until the function returns something true, without blocking the event loop."""
        end = time.monotonic() + seconds
        while not await asyncio.to_thread(true):
            if time.monotonic() > end:
                raise TimeoutError(f"it never came to that: {self.one.log.read_text()[-3000:]}")
            await asyncio.sleep(0.05)

    async def talking(self, calls: int, packets: int = 0) -> None:
        """Wait until this many calls are active and this many of their packets are stored."""
        await self.until(lambda: self.figure("recorder_calls_active") >= calls)
        await asyncio.sleep(0.5)
        await self.until(lambda: self.figure('recorder_rtp_packets_total{result="stored"}') >= packets)

    def over(self, calls: Sequence[CallReport]) -> dict[str, dict[str, Any]]:
        """Wait until every call is recorded and has ended; return the recording of its dialog by session.

        Each node has at most one recording of a session. Another node may have an empty one, of a dialog that the
        client abandoned to continue here; the list may show only that one (storage.calls.session_recordings).
        """
        dialogs, end = {call.session_id: call.call_id for call in calls}, time.monotonic() + SECONDS
        while True:
            found = self._recordings(dialogs)
            mine = [each for each in found if each["sip_call_id"] == dialogs[each["session_id"]]]
            if len(mine) >= len(dialogs) and not any(each["state"] == "recording" for each in found):
                break
            assert time.monotonic() < end, Counter(each["state"] for each in found)
            time.sleep(0.1)
        assert Counter(each["session_id"] for each in mine) == dict.fromkeys(dialogs, 1)
        assert set(Counter((each["session_id"], each.get("node")) for each in found).values()) <= {1}
        assert not any(stream["packets"] for each in found if each not in mine for stream in each["streams"])
        return {each["session_id"]: each for each in mine}

    def _recordings(self, sessions: Container[str]) -> list[dict[str, Any]]:
        """Return all recordings of some sessions, even those for which the list shows the recording of another node."""
        found = {call["id"]: call for call in self.calls() if call["session_id"] in sessions}
        for listed in [call for call in found.values() if "node" in call]:
            for other in self.get(f"/calls/{listed['id']}").json().get("recordings", ()):
                if other["key"] == listed["session_id"] and other["id"] not in found:
                    found[other["id"]] = self.get(f"/calls/{other['id']}").json()
        return list(found.values())

    def channels(self, call: str) -> list[list[Found]]:
        """Return the frames of a recording by channel; Python 3.11's `wave` reads at most two channels.

        A node that has just started answers 503 until it has followed the cuts of the others.
        """

        def played() -> httpx2.Response | None:
            answer = self.get(f"/calls/{call}/media?format=wav")
            return None if answer.status_code == 503 else answer

        wav, at, count = until(played).raise_for_status().content, 12, 0
        while wav[at : at + 4] != b"data":
            if wav[at : at + 4] == b"fmt ":
                (count,) = struct.unpack_from("<H", wav, at + 10)
            at += 8 + struct.unpack_from("<I", wav, at + 4)[0]
        sound = memoryview(wav)[at + 8 :].cast("h")
        return [list(find(sound[i::count].tobytes())) for i in range(count)]

    def prints(self, calls: Sequence[str]) -> dict[str, Any]:
        """Return what must never change in finished calls: hashes of their parts and audio, and their documents."""
        vault = self.one.data / "customers/acme/vault"
        parts = [path for path in files(vault) if path.name.split(".")[0] in calls]
        return {
            "parts": {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in parts},
            "audio": {c: hashlib.sha256(self.get(f"/calls/{c}/media?format=wav").content).hexdigest() for c in calls},
            "facts": {c: self.get(f"/calls/{c}").json() for c in calls},
        }

    def erase(self, **wanted: Any) -> dict[str, Any]:
        """Ask for an erasure and wait until it is done."""
        answer = self.ask("POST", "/erasures", "privacy", json={**wanted, **WHY})
        assert answer.status_code == 202, answer.text
        return self.erasure(answer.json()["id"], "done")

    def erasure(self, id: str, state: str) -> dict[str, Any]:
        """Wait until an erasure is in this state, and return it."""
        until(lambda: self.get(f"/erasures/{id}", "privacy").json().get("state") == state)
        return dict(self.get(f"/erasures/{id}", "privacy").json())

    def gone(self, call: str) -> bool:
        """Return whether every path answers as if the call had never existed."""
        paths = (f"/calls/{call}", f"/calls/{call}/media")
        listed = {one["id"] for one in self.calls()}
        return all(self.get(path).status_code == 404 for path in paths) and call not in listed

    def sound(self, call: str) -> bytes:
        """Return the audio of a call."""
        return self.get(f"/calls/{call}/media?format=wav").content

    def export(self, **asked: Any) -> str:
        """Export calls; return the id of the export once it is done."""
        answer = self.ask("POST", "/exports", "privacy", json={"reason": "Art. 15", **asked})
        assert answer.status_code == 202, answer.text
        id = str(answer.json()["id"])
        until(lambda: self.get(f"/exports/{id}").json()["state"] != "running")
        assert self.get(f"/exports/{id}").json()["state"] == "done"
        return id


@contextmanager
def running(
    folder: Path, data: Path | None = None, *, start: bool = True, kept: bool = False, calls: int = 0, **settings: Any
) -> Iterator[Api]:
    """Yield a daemon that is running, or with `start=False` ready to be started.

    With `kept`, it runs under a descriptor store; with `calls`, it accepts that many at its own address.
    """
    folder.mkdir(exist_ok=True)
    with ExitStack() as stack:
        if kept:
            settings["store"] = stack.enter_context(descriptor_store(folder))
        place = own_place(calls) if calls else {}
        one = stack.enter_context(server(folder, data, **{"level": "info", **place, **settings}))
        one.init()
        if start:
            one.start()
        yield Api(one)
