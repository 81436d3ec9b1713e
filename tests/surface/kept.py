"""A recorder's data and the state of a call in progress, as files of text: how they are made, and unpacked again.

What is made holds a call that is over (under legal hold, with an annotation), the erasure of another one, a retention
rule, a waiver, a user, a request, a set of columns, an account, tokens and an export; and, in the runtime directory, a
call with SRTP in the middle of which all processes of the daemon were killed.
"""

from __future__ import annotations

import base64
import json
import lzma
import shutil
import time
from pathlib import Path
from typing import Any

from tests.surface.process import Daemon
from tests.surface.recording_client import Call

ROLES = ("listener", "privacy", "approver", "auditor", "operator")
WHY = "asked for by letter"
FRAMES = 10
"""Frames of each call, and of each part of the one in progress."""
NEVER = "2099-01-01T00:00:00Z"
RETENTION = {"rules": [{"days": 36_000, "name": "tests", "source": "192.0.2.1"}], "default_days": 36_500}
WAIVER = {
    "document_sha256": "5a" * 32,
    "signed_by": "Example Ltd",
    "signed_at": "2026-01-01T00:00:00Z",
    "scope": "erasure on request",
    "expires_at": NEVER,
}


def make(one: Daemon) -> dict[str, Any]:
    """Fill a folder with everything; return what a client of it must know."""
    tokens = {"admin": json.loads(one.run("init", "--json").stdout)["token"]}
    for role in ROLES:
        made = one.run("token", "create", "--customer", "acme", "--role", role, "--name", role, "--json")
        tokens[role] = json.loads(made.stdout)["token"]
    one.run("admin", "create", "anna", "--customer", "acme", "--role", "admin")
    one.start()
    held, erased, export = _papers(one, tokens)
    going = Call(3, one.host, one.sip, keys=tuple(base64.b64encode(bytes([stream]) * 30).decode() for stream in (1, 2)))
    going.begin()
    going.speak(FRAMES)
    time.sleep(3)  # its spool and its state are written about once a second
    (live,) = one.ask(tokens["admin"], "GET", "/calls?state=recording")[1]["items"]
    one.kill()
    time.sleep(2)
    call = going.kept()
    return {"tokens": tokens, "held": held, "erasure": erased, "export": export, "live": live["id"], "client": call}


def _papers(one: Daemon, tokens: dict[str, str]) -> tuple[str, Any, str]:
    """Record two calls and have everything written that has a form of its own."""
    for number in (1, 2):
        call = Call(number, one.host, one.sip)
        call.begin()
        call.speak(FRAMES)
        time.sleep(1.5)
        call.end()
    admin, privacy = tokens["admin"], tokens["privacy"]
    while len(items := one.ask(admin, "GET", "/calls?state=complete")[1]["items"]) < 2:
        time.sleep(0.1)
    erased, held = (item["id"] for item in items)
    for token, method, path, body in (
        (admin, "PUT", "/waiver", WAIVER),
        (admin, "PUT", "/retention", RETENTION),
        (privacy, "PUT", f"/calls/{held}/hold", {"reason": "a lawsuit"}),
        (privacy, "POST", f"/calls/{held}/annotations", {"text": "a note"}),
        (privacy, "POST", "/users", {"first_name": "Anna", "email": "anna@example.org"}),
        (privacy, "PUT", "/column-sets/short", {"columns": ["id"]}),
        (privacy, "POST", "/requests", {"kind": "access", "identities": ["Anna"]}),
    ):
        status, answer = one.ask(token, method, path, body)
        if status >= 300:
            raise RuntimeError(f"{method} {path}: {status} {answer}")
    asked = one.ask(privacy, "POST", "/erasures", {"calls": [erased], "reason": WHY})[1]
    done = one.until(privacy, f"/erasures/{asked['id']}", ["done"])
    wanted = {"calls": [held], "format": "csv", "columns": ["id", "started_at"], "reason": WHY}
    export = one.ask(privacy, "POST", "/exports", wanted)[1]
    one.until(privacy, f"/exports/{export['id']}", ["done"])
    return held, done, export["id"]


def pack(folder: Path) -> dict[str, Any]:
    """Return data, root secret and live calls of a folder as text: what is none as xz in base64."""
    packed: dict[str, Any] = {}
    live = [path for path in folder.joinpath("run", "live").rglob("*") if path.is_file()]
    for path in sorted([*folder.joinpath("data").rglob("*"), folder / "root.key", *live]):
        if path.is_file() and not path.name.endswith((".lock", "-shm")):
            packed[path.relative_to(folder).as_posix()] = _packed(path.read_bytes())
    return packed


def _packed(data: bytes) -> Any:
    if data and data.isascii() and b"\0" not in data:
        return data.decode().split("\n")
    text = base64.b64encode(lzma.compress(data, preset=9)).decode()
    return {"xz": [text[at : at + 120] for at in range(0, len(text), 120)]}


def unpack(packed: dict[str, Any], folder: Path) -> None:
    """Lay the files out again, readable by their owner alone, zeros at the end of long ones as holes."""
    for name, content in packed.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if isinstance(content, list):
            data = "\n".join(content).encode()
        else:
            data = lzma.decompress(base64.b64decode("".join(content["xz"])))
        path.touch(0o600)
        with path.open("r+b") as file:
            file.write(data)


def fresh(folder: Path) -> Path:
    """Empty a folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
