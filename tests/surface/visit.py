"""One visit to a recorder that goes on with the kept data: what it answers, prints, logs and counts is written down."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyrage

from tests.surface import formats, looks
from tests.surface.kept import FRAMES, unpack
from tests.surface.process import SECONDS, Daemon, command, daemon
from tests.surface.recording_client import Call

UNKNOWN = "00000000-0000-4000-8000-000000000000"
PEOPLE = "first_name,last_name,email,numbers\nBert,Example,bert@example.org,+4930222\n"

HELD = ("state", "started_at", "duration_ms", "session_id", "parties", "hold")
"""Members of the kept call that must have the values of then."""

ANSWERS = (
    ("admin", "GET", "/calls", None),
    ("admin", "GET", "/calls/{held}", None),
    ("admin", "GET", "/calls/{erased}", None),
    ("admin", "GET", "/calls?limit=none", None),
    ("auditor", "GET", "/calls", None),
    ("none", "GET", "/calls", None),
    ("admin", "GET", "/calls/{held}/waveform", None),
    ("admin", "PATCH", "/calls/{held}", None),
    ("privacy", "GET", "/erasures", None),
    ("privacy", "GET", "/erasures/{erasure}", None),
    ("privacy", "POST", "/erasures", {"calls": ["{held}"], "reason": "a try"}),
    ("privacy", "POST", "/erasures", {}),
    ("privacy", "GET", "/exports", None),
    ("privacy", "GET", "/exports/{export}", None),
    ("privacy", "GET", "/exports/{new_export}", None),
    ("privacy", "GET", "/retention", None),
    ("privacy", "POST", "/retention/preview", {"rules": [], "default_days": 36_500}),
    ("admin", "GET", "/waiver", None),
    ("privacy", "GET", "/users", None),
    ("privacy", "GET", "/column-sets", None),
    ("privacy", "GET", "/requests", None),
    ("auditor", "GET", "/audit?limit=5", None),
    ("admin", "GET", "/accounts", None),
    ("operator", "GET", "/incidents", None),
    ("operator", "GET", "/system", None),
    ("admin", "GET", "/system", None),
)
"""Requests and who sends them: the answers' statuses and members are kept."""

ALWAYS_LOGGED = ("recorder.ready", "api.ready", "media.resumed", "export.done", "calls.draining", "recorder.stopped")
"""Events of every run; others come or not as the machine is fast or slow."""

WHILE_IT_RUNS = (
    "calls",
    "calls --party +49301111001",
    "calls --customer nobody",
    "token list",
    "token create --customer acme --role listener --name new",
    "token create --customer acme --role wrong --name new-2",
    "token revoke new",
    "token revoke unknown",
    "admin create bert --customer acme --role listener",
    "admin create bert --customer acme --role listener",
    "admin list",
    "admin roles bert --role privacy",
    "admin disable bert",
    "admin enable bert",
    "admin reset bert",
    "admin remove bert",
    "admin remove bert",
    "directory import {folder}/people.csv --customer acme --dry-run",
    "directory import {folder}/people.csv --customer acme --yes",
    "directory import {folder}/none.csv --customer acme",
    "directory check --customer acme",
    "directory sync --customer acme",
    "export {held} -o {folder}/held.wav",
    "export {held} -o {folder}/held.wav",
    "export {erased} -o {folder}/erased.wav",
    "check-owners {held}",
    "keys rotate --to file:{folder}/root-2.key",
    "simulate --to sip:rec@{host}:{sip} --calls 1 --duration 0.6 --srtp none",
    "retention --dry-run",
    "doctor",
    "trace --for 1s -o {folder}/trace.txt",
    "support -o {folder}/support.tar.gz",
    "recover",
    "serve",
)
"""Commands beside a daemon; of each the exit status and the members of its JSON are kept."""

WHILE_IT_IS_STOPPED = (
    "check-config",
    "check-config --start",
    "init",
    "calls --state complete",
    "verify",
    "verify {erased}",
    "recover",
    "retention --dry-run",
    "audit verify",
    "audit verify --receipt {folder}/receipt.json",
    "audit verify --receipt {folder}/false.json",
    "keys backup --recipient {age} -o {folder}/keys.age",
    "keys restore {folder}/keys.age --identity {folder}/age.txt",
    "keys rotate --to file:{folder}/root-2.key",
    "simulate --to sip:rec@{host}:{sip} --calls 1 --duration 0.1 --srtp none --setup-timeout 0.2",
    "verify --bogus",
    "check-config --config {folder}/wrong.toml",
    "calls --config {folder}/none.toml",
    "serve --config {folder}/wrong.toml",
    "serve --config {folder}/none.toml",
)


@dataclass
class Visit:
    """What was seen."""

    openapi: Any = None
    metrics: Any = None
    answers: dict[str, Any] = field(default_factory=dict)
    commands: dict[str, Any] = field(default_factory=dict)
    logged: dict[str, list[str]] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)  # what became of the kept data
    files: dict[str, Any] = field(default_factory=dict)  # what was written


def visit(stored: dict[str, Any], folder: Path) -> Visit:
    """Serve the kept data once and write down what is seen; raises what goes wrong on the way."""
    known = stored["known"]
    unpack(stored["files"], folder)
    seen = Visit()
    recipient = _lay_out(folder, known["erasure"]["receipt"])
    with daemon(folder) as one:
        tokens = {**known["tokens"], "none": "rec_" + "0" * 64}
        words = {
            "folder": folder, "host": one.host, "sip": one.sip, "age": recipient,
            "held": known["held"], "export": known["export"], "erasure": known["erasure"]["id"],
            "erased": known["erasure"]["receipt"]["calls"][0],
        }  # fmt: skip
        one.start()
        seen.openapi = looks.openapi(json.loads(one.get("/openapi.json")))
        seen.kept = {"live call": _go_on(one, seen, tokens["admin"], known), **_read(one, tokens, words, known)}
        words["new_export"] = _export(one, tokens["privacy"], words["held"])
        _wait_until_indexed(one, tokens["admin"])
        for who, method, path, body in ANSWERS:
            asked = json.loads(json.dumps(body).replace("{held}", words["held"]))
            status, answer = one.ask(tokens[who], method, path.format(**words), asked)
            members = looks.shape(answer) if isinstance(answer, dict) else "a file"
            problem = answer.get("type") if status >= 400 else None
            shown = {"status": status, "problem": problem} if problem else {"status": status, "json": members}
            key = f"{who}: {method} {path}{' ' + json.dumps(body, sort_keys=True) if body is not None else ''}"
            seen.answers[key] = shown
        _commands(seen, one, WHILE_IT_RUNS, words, "beside a daemon")
        _erase(one, tokens, known["live"])
        seen.metrics = looks.exposition(one.get("/metrics"))
        seen.kept["exit status of the daemon"] = one.stop()
        parts = (folder / "data/customers/acme/vault").rglob("*.m1")
        newest = max(parts, key=lambda path: path.stat().st_mtime_ns)
        seen.files["a new part, by docs/formats/reader.py"] = formats.opened(folder, newest)
        _commands(seen, one, WHILE_IT_IS_STOPPED, words, "alone")
        seen.files["data directory"] = formats.files(folder / "data")
        seen.logged = _logged(one)
    return seen


def _lay_out(folder: Path, receipt: Any) -> str:
    """Write the files that commands are given; return for whom keys are backed up."""
    identity = pyrage.x25519.Identity.generate()
    (folder / "age.txt").write_text(str(identity))
    (folder / "people.csv").write_text(PEOPLE)
    (folder / "receipt.json").write_text(json.dumps(receipt))
    (folder / "false.json").write_text(json.dumps({**receipt, "requested_by": "somebody"}))
    (folder / "wrong.toml").write_text('[node]\nnam = "x"\n[sip]\nmax_calls = 0\n')
    return str(identity.to_public())


def _go_on(one: Daemon, seen: Visit, token: str, known: dict[str, Any]) -> dict[str, Any]:
    """Go on with the call in whose middle the daemon was killed, and end it."""
    client = Call(**{**known["client"], "recorder": one.host, "port": one.sip})
    path = f"/calls/{known['live']}"
    status, before = one.ask(token, "GET", path)
    if status != 200 or before["state"] != "recording":
        return {"state after the start": before.get("state", status)}
    client.speak(FRAMES)
    _wait_for_packets(one, token, path, 2 * FRAMES)
    seen.files["live call"] = formats.live_state(one.folder / "run")
    answered = client.end()
    after = one.until(token, path, ["complete", "interrupted"])
    return {
        "state after the start": before["state"],
        "status of BYE": answered,
        "state at the end": after["state"],
        "streams": [[s["label"], s["codec"], s["srtp"], s["packets"], s["rejected"]] for s in after["streams"]],
        "parties": [[party["name"], party["number"], party["uri"]] for party in after["parties"]],
        "session": after["session_id"],
    }


def _wait_until_indexed(one: Daemon, token: str) -> None:
    """Wait until the index has every call; until then, a list says that it may be incomplete."""
    end = time.monotonic() + SECONDS
    while one.ask(token, "GET", "/calls")[1].get("incomplete"):
        if time.monotonic() > end:
            raise TimeoutError("the list of calls stays incomplete")
        time.sleep(0.2)


def _wait_for_packets(one: Daemon, token: str, path: str, wanted: int) -> None:
    """Wait until each stream of a call has so many packets; in vain for some seconds if it never has."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if all(stream["packets"] >= wanted for stream in one.ask(token, "GET", path)[1]["streams"]):
            return
        time.sleep(0.2)


def _read(one: Daemon, tokens: dict[str, str], words: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """Read what was there before: the values, which the kept data decides."""
    admin, privacy = tokens["admin"], tokens["privacy"]
    held = one.ask(privacy, "GET", f"/calls/{words['held']}")[1]
    sound = one.ask(admin, "GET", f"/calls/{words['held']}/media?format=wav")[1]
    erasure = one.ask(privacy, "GET", f"/erasures/{words['erasure']}")[1]
    rules = one.ask(privacy, "GET", "/retention")[1]
    return {
        "held call": {key: held[key] for key in HELD},
        "its streams": [[s["label"], s["codec"], s["packets"], s["lost"]] for s in held["streams"]],
        "its annotations": [note["text"] for note in held["annotations"]],
        "SHA-256 of its WAV": hashlib.sha256(sound).hexdigest(),
        "found by its number": [
            call["id"] == words["held"] for call in one.ask(admin, "GET", "/calls?party=%2B49301111001")[1]["items"]
        ],
        "receipt is the same": erasure["receipt"] == known["erasure"]["receipt"],
        "rules": [[rule["name"], rule["days"]] for rule in rules["rules"]],
        "waiver": one.ask(admin, "GET", "/waiver")[1]["active"],
        "users": [user["email"] for user in one.ask(privacy, "GET", "/users")[1]["items"]],
        "accounts": [account["name"] for account in one.ask(admin, "GET", "/accounts")[1]["items"]],
        "sets of columns": [each["name"] for each in one.ask(privacy, "GET", "/column-sets")[1]["items"]],
        "requests": [each["kind"] for each in one.ask(privacy, "GET", "/requests")[1]["items"]],
    }


def _erase(one: Daemon, tokens: dict[str, str], call: str) -> None:
    """Have a call erased, so that today's lines of ledger and journal are there to see."""
    status, asked = one.ask(tokens["privacy"], "POST", "/erasures", {"calls": [call], "reason": "a try"})
    if status != 202:
        raise RuntimeError(f"erasure: {status} {asked}")
    one.until(tokens["privacy"], f"/erasures/{asked['id']}", ["done"])


def _export(one: Daemon, token: str, call: str) -> str:
    """Have a call exported; return the id of the export."""
    wanted = {"calls": [call], "format": "json", "columns": ["id", "started_at"], "reason": "a try"}
    status, made = one.ask(token, "POST", "/exports", wanted)
    if status != 202:
        raise RuntimeError(f"export: {status} {made}")
    one.until(token, f"/exports/{made['id']}", ["done"])
    return str(made["id"])


def _commands(seen: Visit, one: Daemon, lines: tuple[str, ...], words: dict[str, Any], where: str) -> None:
    for line in lines:
        given = line.format(**words).split()
        with_json = given if given[0] == "serve" else [*given, "--json"]
        done = command(*with_json) if "--config" in given or given[0] == "simulate" else one.run(*with_json)
        shown: dict[str, Any] = {"status": done.returncode}
        try:
            shown["json"] = looks.shape(json.loads(done.stdout))
        except ValueError:
            shown["json"] = "none"
        key = f"{line} ({where})"
        seen.commands[key if key not in seen.commands else f"{line} ({where}, again)"] = shown


def _logged(one: Daemon) -> dict[str, list[str]]:
    """Return the fields of those events in the log that every run has."""
    found: dict[str, set[str]] = {event: set() for event in ALWAYS_LOGGED}
    for line in one.log():
        if line["event"] in found:
            found[line["event"]].update(line)
    return {event: sorted(fields) for event, fields in found.items()}
