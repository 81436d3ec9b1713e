"""The cut log, a list of all cuts beside the keys, from which a restored backup is brought up to date.

`keys/NAME.erasures` has one line of JSON for every cut: its time, leaves and whole days, and the erasures it was for,
with everything that a receipt needs. A line is durable before its cut is made. If the database does not know the newest
cuts, it is older than the keys; `storage.erasure.reapply_after_restore` then repeats them before anything is served.
Space for the next lines is reserved in advance, because they must be written even on a full disk.

If several nodes hold the keys, each line also has its number in the table `cuts` (docs/formats/cuts.md).
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from storage.cuts.lines import Kind, Line, Numbered
from storage.errors import StorageError
from storage.files.append_log import LineFile
from storage.json_bytes import ascii_json
from storage.timestamps import from_text, to_text

_PLACE = b',"cuts":'
RESERVE = 128 << 10  # bytes reserved beyond the end: about 250 erasures on a full disk


class LedgerDamaged(StorageError):
    """A line of the cut log cannot be read."""


@dataclass(frozen=True, slots=True)
class Request:
    """An erasure that a cut is for, with all values that a new receipt needs; contains no personal data."""

    id: str
    """Id of the erasure."""
    cause: str
    """`request`, or `retention:` and the id of its rule."""
    by: str
    """Name of the token that requested it, or the recorder."""
    at: datetime
    """When it was requested."""
    approved_by: str | None = None
    """Name of the second token, if approval was needed."""
    approved_at: datetime | None = None
    """When it was approved."""
    calls: tuple[str, ...] = ()
    """Ids of the calls that a request named; calls that retention erases are found by their leaves."""
    leaves: tuple[int, ...] = ()
    """Leaves of its calls that this cut contains."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One cut."""

    erasures: tuple[Request, ...]
    """The erasures it was for."""
    at: datetime
    """Time of the cut."""
    leaves: tuple[int, ...]
    """Leaves that were cut, which belong to calls, index keys and exports."""
    days: tuple[int, ...] = ()
    """Days that were cut whole."""

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the erasures."""
        return tuple(request.id for request in self.erasures)


class Ledger:
    """The cut log of one customer; safe between processes."""

    def __init__(self, keys_dir: Path, customer: str) -> None:
        self._customer = customer
        self._file = LineFile(keys_dir / f"{customer}.erasures", "the ledger of erasures", RESERVE)

    def append(self, entry: Entry) -> None:
        """Append a line, durably; raises NoSpace, DiskFailed."""
        self._file.append(_pack(entry, self._customer))

    def follow(self, each: Numbered, at: datetime) -> bool:
        """Append a line of the table `cuts` with its number, durably; raises NoSpace, DiskFailed.

        Return False if it is already the newest line: two processes may follow the same table. `at`: the time to write
        into a line that cuts nothing.
        """
        newest = self._file.last()
        if newest is not None and _place(newest) == each:
            return False
        text = each.line.text.encode("ascii") or _pack(Entry((), at, ()), self._customer)[:-1]
        line = each.line
        place = {"n": each.n, "chain": each.chain.hex(), "id": line.id, "kind": line.kind.value, "node": line.node}
        self._file.append(text[:-1] + _PLACE + ascii_json(place) + b"}\n")
        return True

    def followed(self, offset: int = 0) -> tuple[tuple[Numbered, ...], int]:
        """Return the lines from an offset on that belong to the table `cuts`, and the offset of the end."""
        lines, end = self._file.after(offset)
        return tuple(each for line in lines if (each := _place(line)) is not None), end

    @property
    def size(self) -> int:
        """Return the size of the file in bytes."""
        return self._file.size

    def prepare(self) -> None:
        """Create the file and reserve space in it."""
        self._file.prepare()

    def last(self) -> Entry | None:
        """Return the newest entry, None if there is none."""
        line = self._file.last()
        return None if line is None else _parse(line, self._customer)

    def newest_first(self) -> Iterator[Entry]:
        """Yield all entries, newest first."""
        return (_parse(line, self._customer) for line in self._file.newest_first())

    def entries(self) -> Iterator[Entry]:
        """Yield all entries, oldest first."""
        return (_parse(line, self._customer) for line in self._file.lines())


def entry_of(text: str, customer: str) -> Entry:
    """Parse the text of a cut in the table `cuts`; raises LedgerDamaged."""
    return _parse(text.encode(), customer)


def text_of(entry: Entry, customer: str) -> str:
    """Return the text of a cut for the table `cuts`: its line in the cut log without the line feed."""
    return _pack(entry, customer)[:-1].decode("ascii")


def spans(leaves: Iterable[int]) -> list[tuple[int, int]]:
    """Join adjacent leaves; return the first and last leaf of each run."""
    runs: list[tuple[int, int]] = []
    for leaf in sorted(set(leaves)):
        if runs and runs[-1][1] == leaf - 1:
            runs[-1] = (runs[-1][0], leaf)
        else:
            runs.append((leaf, leaf))
    return runs


def _pack(entry: Entry, customer: str) -> bytes:
    document = {
        "customer": customer,
        "at": to_text(entry.at),
        "erasures": [_packed(request) for request in entry.erasures],
        "leaves": _runs(entry.leaves),
        "days": sorted(entry.days),
    }
    return ascii_json(document) + b"\n"


def _place(line: bytes) -> Numbered | None:
    """Return the line of the table `cuts` that a line of the log belongs to; None if a single node wrote it."""
    text, separator, place = line.rstrip(b"\n").rpartition(_PLACE)  # inside a text, quotation marks are escaped
    if not separator:
        return None
    try:
        j = json.loads(place[:-1])
        kind = Kind(j["kind"])
        cut = text.decode("ascii") + "}" if kind is Kind.CUT else ""
        return Numbered(int(j["n"]), bytes.fromhex(j["chain"]), Line(j["id"], kind, j["node"], cut))
    except (ValueError, KeyError, TypeError):
        raise LedgerDamaged("the ledger of erasures is damaged", "restore keys/ from its backup") from None


def _packed(request: Request) -> dict[str, Any]:
    return {
        "id": request.id,
        "cause": request.cause,
        "by": request.by,
        "at": to_text(request.at),
        "approved_by": request.approved_by,
        "approved_at": None if request.approved_at is None else to_text(request.approved_at),
        "calls": sorted(request.calls),
        "leaves": _runs(request.leaves),
    }


def _runs(leaves: Iterable[int]) -> list[str]:
    return [f"{a:012x}" if a == b else f"{a:012x}-{b:012x}" for a, b in spans(leaves)]


def _parse(line: bytes, customer: str) -> Entry:
    try:
        j = json.loads(line)
        whose = j.get("customer", customer)  # the first version did not write it
        at, days = from_text(j["at"]), tuple(int(day) for day in j["days"])
        entry = Entry(tuple(_request(e, j) for e in j["erasures"]), at, _leaves(j["leaves"]), days)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise LedgerDamaged("the ledger of erasures is damaged", "restore keys/ from its backup") from None
    if whose != customer:  # leaf numbers repeat among customers, so these cuts would erase calls here
        raise LedgerDamaged(f"the ledger of erasures of {customer} is another customer's", "restore the right keys/")
    return entry


def _request(found: Any, line: Mapping[str, Any]) -> Request:
    """Parse an erasure of a line; in the first version it is only an id, and all share one list of calls."""
    if isinstance(found, str):
        calls = tuple(map(str, line["calls"])) if len(line["erasures"]) == 1 else ()
        return Request(found, "request", "recorder", from_text(line["at"]), calls=calls)
    approved = found["approved_at"]
    return Request(
        str(found["id"]),
        str(found["cause"]),
        str(found["by"]),
        from_text(found["at"]),
        None if found["approved_by"] is None else str(found["approved_by"]),
        None if approved is None else from_text(approved),
        tuple(map(str, found["calls"])),
        _leaves(found["leaves"]),
    )


def _leaves(texts: Sequence[str]) -> tuple[int, ...]:
    found: list[int] = []
    for text in texts:
        first, _, last = text.partition("-")
        found += range(int(first, 16), int(last or first, 16) + 1)
    return tuple(found)
