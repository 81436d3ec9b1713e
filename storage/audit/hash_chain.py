"""The format of the audit log: entries in a hash chain, signed checkpoints, and the proof that nothing was changed.

A line is a JSON object. Its last member is `hash`: SHA-256 of the previous hash, a line feed, and the bytes of this
line before `hash`. The chain begins with the hash of a sentence that contains the customer's name, so one customer's
log cannot stand in for another's. `n` counts from 1.

A checkpoint says "entry n has hash h and ends at byte s", signed with Ed25519. The newest one lies beside the keys and
is renewed with every commit, so a log that was cut, rolled back or removed does not fit it. Older ones lie beside the
log, for operators who copy them elsewhere.

After a restore the log lacks entries that checkpoints name. An *acceptance* is a signed statement, in an entry of the
log, of which entries those were; verification then ignores the checkpoints that name them, and no others.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
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
MAX_FIELD = 2000  # characters of one field of an entry; longer fields are cut
_LINE = re.compile(rb'(\{.*),"hash":"([0-9a-f]{64})"\}', re.DOTALL)
_SIGNED = b"siprec-recorder/1 audit checkpoint\0"
_TALLIED = b"siprec-recorder/1 audit checkpoints\0"
_ACCEPTED = b"siprec-recorder/1 audit acceptance\0"
ACCEPT = "audit.accept"
"""Action of an entry that has an acceptance as its object."""
BROKEN = "audit.broken"
"""Action of the first entry after entries that are lost."""
NODE = "audit.node"
"""Action of the entry that names the node whose log it is from there on; its reason is "node" and the number."""


class AuditError(StorageError):
    """The audit log cannot be read or written."""


@dataclass(frozen=True, slots=True)
class Act:
    """What somebody did or tried; never contains the parties of a call."""

    actor: str
    """Name of the token or user, or of a part of the recorder."""
    role: str
    """Role that was used; "system" for the recorder itself."""
    action: str
    """What was done, for example "call.view"."""
    object: str = ""
    """Id of the object it was done to."""
    outcome: str = "done"
    """"done", "refused" or "failed"."""
    reason: str = ""
    """Why, as the actor gave it."""
    source: str = ""
    """Where the request came from."""
    actor_kind: str = ""
    """What the name stands for (storage.access.actor.Kind)."""
    actor_id: str = ""
    """Id of the token or account, or issuer and `sub`; stays the same when names change."""

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
        """Build an act of an identity."""
        return cls(actor.name, role, action, object, outcome, reason, source, actor.kind.value, actor.id)


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the chain."""

    n: int
    """Number of the last entry, 0 for an empty log."""
    hash: str
    """Hash of that entry."""
    size: int
    """Bytes up to the end of that entry."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed statement about the chain."""

    customer: str
    """Name of the customer."""
    head: Head
    """End of the chain at that time."""
    at: str
    """Time of the statement, RFC 3339."""
    signature: bytes
    """Ed25519 signature of all other fields."""
    node: int = 0
    """Number of the node whose chain it is; 0, and not in the file, if one node has the database to itself."""

    @classmethod
    def sign(cls, key: Ed25519PrivateKey, customer: str, head: Head, at: datetime, node: int = 0) -> "Checkpoint":
        """Sign the end of the chain at a time."""
        text = to_text(at)
        return cls(customer, head, text, key.sign(_statement(customer, head, text, node)), node)

    @classmethod
    def parse(cls, data: bytes) -> "Checkpoint":
        """Parse a checkpoint; raises AuditError."""
        try:
            j = json.loads(data)
            head = Head(int(j["n"]), str(j["hash"]), int(j["size"]))
            signature, node = bytes.fromhex(j["signature"]), int(j.get("node", 0))
            return cls(str(j["customer"]), head, str(j["at"]), signature, node)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise AuditError("a checkpoint of the audit log is damaged") from None

    def __bytes__(self) -> bytes:
        document = _checkpoint(self.customer, self.head, self.at, self.node)
        return ascii_json({**document, "signature": self.signature.hex()}) + b"\n"

    def genuine(self, key: Ed25519PublicKey, customer: str) -> bool:
        """Return whether it was signed with this key for this customer."""
        try:
            key.verify(self.signature, _statement(self.customer, self.head, self.at, self.node))
        except InvalidSignature:
            return False
        return self.customer == customer


@dataclass(frozen=True, slots=True)
class Lines:
    """The number of checkpoints in a file, and a hash over all of them."""

    count: int
    size: int
    """Their total size in bytes."""
    hash: str
    """For each line in turn: SHA-256 of the previous hash, a line feed, and the line."""

    def then(self, lines: Iterable[bytes]) -> "Lines":
        """Return the result after more lines, line feeds included."""
        count, size, digest = self.count, self.size, self.hash
        for line in lines:
            count, size, digest = count + 1, size + len(line), _hash(digest, line)
        return Lines(count, size, digest)


NO_LINES = Lines(0, 0, "")
"""The lines of an empty file."""


@dataclass(frozen=True, slots=True)
class Tally:
    """A signed statement about the checkpoints beside the log; it lies beside the keys."""

    customer: str
    """Name of the customer."""
    serial: int
    """Number of this tally; each new one is higher by one."""
    lines: Lines
    """Lines that the file begins with; one more may have been written since."""
    before: Lines | None
    """Lines of the file before it was thinned out, as long as thinning may be unfinished."""
    signature: bytes
    """Ed25519 signature of all other fields."""

    @classmethod
    def sign(
        cls, key: Ed25519PrivateKey, customer: str, serial: int, lines: Lines, before: Lines | None = None
    ) -> "Tally":
        """Sign the lines that the file begins with."""
        return cls(customer, serial, lines, before, key.sign(_tallied(customer, serial, lines, before)))

    @classmethod
    def parse(cls, data: bytes) -> "Tally":
        """Parse a tally; raises AuditError."""
        try:
            j = json.loads(data)
            lines, before = _lines(j["lines"]), j["before"] and _lines(j["before"])
            return cls(str(j["customer"]), int(j["serial"]), lines, before or None, bytes.fromhex(j["signature"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            raise AuditError("the signed count of the audit log's checkpoints is damaged") from None

    def __bytes__(self) -> bytes:
        document = _tally(self.customer, self.serial, self.lines, self.before)
        return ascii_json({**document, "signature": self.signature.hex()}) + b"\n"

    def genuine(self, key: Ed25519PublicKey, customer: str) -> bool:
        """Return whether it was signed with this key for this customer."""
        try:
            key.verify(self.signature, _tallied(self.customer, self.serial, self.lines, self.before))
        except InvalidSignature:
            return False
        return self.customer == customer

    def begins(self, lines: Sequence[bytes]) -> Lines | None:
        """Return which of `lines` and `before` the file begins with, None if neither."""
        known = (self.lines, self.before)
        return next((each for each in known if each and NO_LINES.then(lines[: each.count]) == each), None)


@dataclass(frozen=True, slots=True)
class Loss:
    """Entries that were lost, and that somebody with the root secret accepts as lost."""

    first: int
    """Number of the first lost entry, at which the log was continued; 0 if only checkpoints beside the log are lost."""
    last: int
    """Number of the last lost entry that a checkpoint names, 0 if none."""
    hash: str
    """Hash of that entry."""
    at: str
    """When that checkpoint was made, RFC 3339; empty if there is none."""
    checkpoints: int
    """Number of checkpoints that the tally beside the keys counts, if the file does not fit it; 0 if it fits."""
    node: int = 0
    """Number of the node whose log it is; 0, and not in the entry, if one node has the database to itself."""

    def covers(self, mark: Checkpoint) -> bool:
        """Return whether a checkpoint names one of these entries; later entries with the same numbers do not count."""
        return self.first <= mark.head.n <= self.last and mark.at <= self.at

    def signed(self, key: Ed25519PrivateKey, customer: str) -> str:
        """Return the acceptance, as the object of an entry."""
        fields = " ".join(f"{name}={value}" for name, value in self._fields().items())
        return f"{fields} signature={key.sign(self._statement(customer)).hex()}"

    @classmethod
    def parse(cls, text: str, key: Ed25519PublicKey, customer: str) -> "Loss | None":
        """Parse an acceptance; return None if it was not signed with this key for this customer."""
        try:
            f = dict(pair.split("=", 1) for pair in text.split(" "))
            node = int(f.get("node", 0))
            found = cls(int(f["first"]), int(f["last"]), f["hash"], f["at"], int(f["checkpoints"]), node)
            key.verify(bytes.fromhex(f["signature"]), found._statement(customer))
        except (ValueError, KeyError, InvalidSignature):
            return None
        return found

    def _fields(self) -> dict[str, object]:
        kept = {"first": self.first, "last": self.last, "hash": self.hash, "at": self.at}
        return {**kept, "checkpoints": self.checkpoints, **({"node": self.node} if self.node else {})}

    def _statement(self, customer: str) -> bytes:
        return _ACCEPTED + ascii_json({"customer": customer, **self._fields()})


@dataclass(frozen=True, slots=True)
class Accepted:
    """An entry of the log that accepts a loss."""

    entry: int
    """Number of the entry."""
    at: str
    """Time of the entry, RFC 3339."""
    actor: str
    """Who accepted it."""
    reason: str
    """Why."""
    loss: Loss
    """What was lost."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verification found."""

    entries: int
    """Number of good entries before the first fault."""
    bad: int | None = None
    """Number of the first bad entry; None if there is none, even if a checkpoint is wrong."""
    fault: str = ""
    """What is wrong with it, as a sentence."""
    proven: int = 0
    """Last entry that a signed checkpoint proves; the good ones after it only follow from each other."""
    accepted: tuple[Accepted, ...] = ()
    """Losses that were accepted, oldest first."""

    @property
    def good(self) -> bool:
        """Return whether no fault was found."""
        return not self.fault


def origin(customer: str) -> Head:
    """Return the head of an empty log."""
    return Head(0, hashlib.sha256(b"siprec-recorder/1 audit log of " + customer.encode()).hexdigest(), 0)


def entry(head: Head, act: Act, at: datetime) -> tuple[bytes, Head]:
    """Return the next line of the log, and the head after it."""
    identity = ("actor_kind", "actor_id") if act.actor_kind else ()  # entries of earlier versions have only the name
    names = ("actor", *identity, "role", "action", "object", "outcome", "reason", "source")
    fields = {name: getattr(act, name)[:MAX_FIELD] for name in names}
    body = ascii_json({"n": head.n + 1, "time": to_text(at), **fields})[:-1]
    digest = _hash(head.hash, body)
    line = body + b',"hash":"' + digest.encode() + b'"}\n'
    return line, Head(head.n + 1, digest, head.size + len(line))


def follow(head: Head, line: bytes) -> tuple[Head | None, str]:
    """Check one line, line feed included, against the head before it; return the next head, or None and the fault."""
    found = _LINE.fullmatch(line[:-1]) if line.endswith(b"\n") else None
    if not found:
        return None, "is not a complete entry"
    digest = found[2].decode()
    try:
        n = json.loads(found[1] + b"}")["n"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None, "is not a complete entry"
    if n != head.n + 1:
        return None, f"is missing: entry {n} is in its place" if isinstance(n, int) else "has no number"
    if _hash(head.hash, found[1]) != digest:
        return None, "does not follow from the entry before it: one of the two was changed"
    return Head(head.n + 1, digest, head.size + len(line)), ""


def verify(
    customer: str,
    lines: Iterable[bytes],
    checkpoints: Sequence[Checkpoint],
    key: Ed25519PublicKey,
    lost: Sequence[Loss] = (),
) -> Verdict:
    """Check the whole chain against every checkpoint but those of `lost` entries; report the first bad entry."""
    for mark in checkpoints:
        if not mark.genuine(key, customer):
            return Verdict(0, mark.head.n, "has a checkpoint that was not signed with this customer's key")
    wanted: dict[int, list[Head]] = {}
    for mark in checkpoints:
        if any(loss.covers(mark) for loss in lost):
            continue
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
                head.n - 1, head.n, "is not the entry that its checkpoint names: the log was rewritten", proven
            )
        proven = head.n if named else proven
    last = max(wanted, default=0)
    if last > head.n:
        return Verdict(
            head.n, head.n + 1, f"is missing: the log was cut or rolled back; a checkpoint names entry {last}", proven
        )
    return Verdict(head.n, proven=proven)


def node_named(item: Mapping[str, Any]) -> int | None:
    """Return the number of the node whose log this is according to an entry, None if the entry does not state it."""
    word, _, number = str(item.get("reason")).partition(" ")
    return int(number) if item.get("action") == NODE and word == "node" and number.isdecimal() else None


def unfinished(head: Head, tail: bytes) -> bool:
    """Return whether an incomplete last line may be the beginning of the next entry, cut off by a crash."""
    begin = f'{{"n":{head.n + 1},"time":"'.encode()
    printable = all(0x20 <= byte < 0x7F for byte in tail)  # entries are ASCII; a power cut may leave zeros
    return printable and tail[: len(begin)] == begin[: len(tail)]


def document(line: bytes) -> dict[str, Any]:
    """Parse a line into the object that the API shows; raises AuditError."""
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


def _checkpoint(customer: str, head: Head, at: str, node: int) -> dict[str, object]:
    told = {"customer": customer, "n": head.n, "hash": head.hash, "size": head.size, "at": at}
    return {**told, "node": node} if node else told


def _statement(customer: str, head: Head, at: str, node: int) -> bytes:
    return _SIGNED + ascii_json(_checkpoint(customer, head, at, node))
