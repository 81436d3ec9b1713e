"""The audit log as bytes: entries in a hash chain, signed checkpoints, and the proof that nothing was changed.

A line is a JSON object whose last member is `hash`: SHA-256 of the hash before it, a line feed, and the line's own
bytes up to there. The hash before the first is that of a sentence with the customer's name, so that no log can stand
in for another customer's. `n` counts from 1.

A checkpoint says "entry n has hash h and ends at byte s", signed with Ed25519. The newest one lies beside the keys
and is renewed with every commit; so a log that was cut, rolled back or taken away does not fit it. Older ones lie
beside the log, for whoever copies it elsewhere.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from storage.access.actor import Actor
from storage.errors import StorageError
from storage.json_bytes import ascii_json
from storage.timestamps import to_text

MAX_LINE = 16384  # bytes; the longest field is a reason of 4,000 characters in JSON
MAX_FIELD = 2000  # characters of one field of an entry; longer ones are cut
_LINE = re.compile(rb'(\{.*),"hash":"([0-9a-f]{64})"\}', re.DOTALL)
_SIGNED = b"siprec-recorder/1 audit checkpoint\0"
_TALLIED = b"siprec-recorder/1 audit checkpoints\0"


class AuditError(StorageError):
    """The audit log cannot be read or written."""


@dataclass(frozen=True, slots=True)
class Act:
    """What somebody did or tried; no party of a call belongs in it."""

    actor: str
    """Name of the token or user, or of a part of the recorder."""
    role: str
    """Role that was used, "system" for the recorder itself."""
    action: str
    """What was done, for example "call.view"."""
    object: str = ""
    """Id of what it was done to."""
    outcome: str = "done"
    """"done", "refused" or "failed"."""
    reason: str = ""
    """Why, as the actor gave it."""
    source: str = ""
    """Where the request came from."""
    actor_kind: str = ""
    """What the name stands for (storage.access.actor.Kind)."""
    actor_id: str = ""
    """Who it was, independent of names: id of the token or account, or issuer and `sub`."""

    @classmethod
    def of(
        cls,
        actor: Actor,
        role: str,
        action: str,
        object: str = "",
        outcome: str = "done",
        reason: str = "",
        source: str = "",
    ) -> "Act":
        """Say what an identity did or tried."""
        return cls(actor.name, role, action, object, outcome, reason, source, actor.kind.value, actor.id)


@dataclass(frozen=True, slots=True)
class Head:
    """Where the chain ends."""

    n: int
    """Number of the last entry, 0 for an empty log."""
    hash: str
    """Its hash."""
    size: int
    """Bytes up to its end."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed statement about the chain."""

    customer: str
    """Whose log."""
    head: Head
    """What the log held."""
    at: str
    """When, RFC 3339."""
    signature: bytes
    """Ed25519 over all of it."""

    @classmethod
    def sign(cls, key: Ed25519PrivateKey, customer: str, head: Head, at: datetime) -> "Checkpoint":
        """State that the log held this."""
        text = to_text(at)
        return cls(customer, head, text, key.sign(_statement(customer, head, text)))

    @classmethod
    def parse(cls, data: bytes) -> "Checkpoint":
        """Read a checkpoint; raises AuditError."""
        try:
            j = json.loads(data)
            head = Head(int(j["n"]), str(j["hash"]), int(j["size"]))
            return cls(str(j["customer"]), head, str(j["at"]), bytes.fromhex(j["signature"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            raise AuditError("a checkpoint of the audit log is damaged") from None

    def __bytes__(self) -> bytes:
        h = self.head
        document = {"customer": self.customer, "n": h.n, "hash": h.hash, "size": h.size, "at": self.at}
        return ascii_json({**document, "signature": self.signature.hex()}) + b"\n"

    def genuine(self, key: Ed25519PublicKey, customer: str) -> bool:
        """Say whether it was signed with this key for this customer."""
        try:
            key.verify(self.signature, _statement(self.customer, self.head, self.at))
        except InvalidSignature:
            return False
        return self.customer == customer


@dataclass(frozen=True, slots=True)
class Lines:
    """How many checkpoints a file holds, and a hash over all of them."""

    count: int
    size: int
    """Bytes of them."""
    hash: str
    """Each line makes it anew: SHA-256 of the hash before, a line feed, and the line."""

    def then(self, lines: Iterable[bytes]) -> "Lines":
        """Add lines, line feeds included."""
        count, size, digest = self.count, self.size, self.hash
        for line in lines:
            count, size, digest = count + 1, size + len(line), _hash(digest, line)
        return Lines(count, size, digest)


NO_LINES = Lines(0, 0, "")
"""Before the first."""


@dataclass(frozen=True, slots=True)
class Tally:
    """A signed statement about the checkpoints beside a log, which lies beside the keys."""

    customer: str
    """Whose."""
    serial: int
    """Counts the statements."""
    lines: Lines
    """What the file begins with: one more line may have been written since."""
    before: Lines | None
    """What it held before it was thinned out, while it is not certain that this was finished."""
    signature: bytes
    """Ed25519 over all of it."""

    @classmethod
    def sign(
        cls, key: Ed25519PrivateKey, customer: str, serial: int, lines: Lines, before: Lines | None = None
    ) -> "Tally":
        """State that the file begins with this."""
        return cls(customer, serial, lines, before, key.sign(_tallied(customer, serial, lines, before)))

    @classmethod
    def parse(cls, data: bytes) -> "Tally":
        """Read a statement; raises AuditError."""
        try:
            j = json.loads(data)
            lines, before = _lines(j["lines"]), j["before"] and _lines(j["before"])
            return cls(str(j["customer"]), int(j["serial"]), lines, before or None, bytes.fromhex(j["signature"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            raise AuditError("what counts the checkpoints of the audit log is damaged") from None

    def __bytes__(self) -> bytes:
        document = _tally(self.customer, self.serial, self.lines, self.before)
        return ascii_json({**document, "signature": self.signature.hex()}) + b"\n"

    def genuine(self, key: Ed25519PublicKey, customer: str) -> bool:
        """Say whether it was signed with this key for this customer."""
        try:
            key.verify(self.signature, _tallied(self.customer, self.serial, self.lines, self.before))
        except InvalidSignature:
            return False
        return self.customer == customer

    def begins(self, lines: Sequence[bytes]) -> Lines | None:
        """Return which of the two the lines of a file begin with, None if with neither."""
        known = (self.lines, self.before)
        return next((each for each in known if each and NO_LINES.then(lines[: each.count]) == each), None)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verification found."""

    entries: int
    """Good entries before the first fault."""
    bad: int | None = None
    """Number of the first bad entry, None if all is well, or if no entry is bad but a checkpoint."""
    fault: str = ""
    """What is wrong with it, as a sentence."""
    proven: int = 0
    """Up to this entry a signed checkpoint proves the good ones; those after it only follow from each other."""

    @property
    def good(self) -> bool:
        """Say whether nothing was found."""
        return not self.fault


def origin(customer: str) -> Head:
    """Give the head of an empty log."""
    return Head(0, hashlib.sha256(b"siprec-recorder/1 audit log of " + customer.encode()).hexdigest(), 0)


def entry(head: Head, act: Act, at: datetime) -> tuple[bytes, Head]:
    """Write the next line of the log and say where the chain ends then."""
    identity = ("actor_kind", "actor_id") if act.actor_kind else ()  # earlier entries had the name alone
    names = ("actor", *identity, "role", "action", "object", "outcome", "reason", "source")
    fields = {name: getattr(act, name)[:MAX_FIELD] for name in names}
    body = ascii_json({"n": head.n + 1, "time": to_text(at), **fields})[:-1]
    digest = _hash(head.hash, body)
    line = body + b',"hash":"' + digest.encode() + b'"}\n'
    return line, Head(head.n + 1, digest, head.size + len(line))


def follow(head: Head, line: bytes) -> tuple[Head | None, str]:
    """Check one line, line feed included, against the head before it: the next head, or None and the fault."""
    found = _LINE.fullmatch(line[:-1]) if line.endswith(b"\n") else None
    if not found:
        return None, "is not a whole entry"
    digest = found[2].decode()
    try:
        n = json.loads(found[1] + b"}")["n"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None, "is not a whole entry"
    if n != head.n + 1:
        return None, f"is missing: entry {n} stands in its place" if isinstance(n, int) else "has no number"
    if _hash(head.hash, found[1]) != digest:
        return None, "does not follow from the entry before it: it, or what stood before it, was changed"
    return Head(head.n + 1, digest, head.size + len(line)), ""


def verify(customer: str, lines: Iterable[bytes], checkpoints: Sequence[Checkpoint], key: Ed25519PublicKey) -> Verdict:
    """Follow the whole chain and compare it with every checkpoint; name the first bad entry."""
    for mark in checkpoints:
        if not mark.genuine(key, customer):
            return Verdict(0, mark.head.n, "has a checkpoint that was not signed with this customer's key")
    wanted: dict[int, list[Head]] = {}
    for mark in checkpoints:
        wanted.setdefault(mark.head.n, []).append(mark.head)
    head, proven = origin(customer), 0
    for line in lines:
        after, fault = follow(head, line)
        if after is None:
            return Verdict(head.n, head.n + 1, fault, proven)
        head = after
        named = wanted.get(head.n, ())
        if any(mark != head for mark in named):
            return Verdict(
                head.n - 1, head.n, "is not the entry that its checkpoint names: the log was written anew", proven
            )
        proven = head.n if named else proven
    last = max(wanted, default=0)
    if last > head.n:
        return Verdict(
            head.n, head.n + 1, f"is missing: the log was cut or rolled back, a checkpoint names entry {last}", proven
        )
    return Verdict(head.n, proven=proven)


def unfinished(head: Head, tail: bytes) -> bool:
    """Say whether a line without its end may be what a crash left of the next entry, as nothing was acknowledged."""
    begin = f'{{"n":{head.n + 1},"time":"'.encode()
    printable = all(0x20 <= byte < 0x7F for byte in tail)  # an entry is ASCII; zeros are what a power cut left, or who
    return printable and tail[: len(begin)] == begin[: len(tail)]


def document(line: bytes) -> dict[str, Any]:
    """Read a line as the API shows it; raises AuditError."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise AuditError("an entry of the audit log is damaged") from None
    if not isinstance(found, dict) or not isinstance(found.get("n"), int):
        raise AuditError("an entry of the audit log is damaged")
    return found


def _hash(before: str, body: bytes) -> str:
    return hashlib.sha256(before.encode() + b"\n" + body).hexdigest()


def _tally(customer: str, serial: int, lines: Lines, before: Lines | None) -> dict[str, object]:
    def form(each: Lines) -> list[object]:
        return [each.count, each.size, each.hash]

    return {"customer": customer, "serial": serial, "lines": form(lines), "before": before and form(before)}


def _tallied(customer: str, serial: int, lines: Lines, before: Lines | None) -> bytes:
    return _TALLIED + ascii_json(_tally(customer, serial, lines, before))


def _lines(form: Sequence[Any]) -> Lines:
    count, size, digest = form
    return Lines(int(count), int(size), str(digest))


def _statement(customer: str, head: Head, at: str) -> bytes:
    return _SIGNED + ascii_json({"customer": customer, "n": head.n, "hash": head.hash, "size": head.size, "at": at})
