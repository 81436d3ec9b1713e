"""The durable steps in which a holder of keys follows the table `cuts`. Pure.

The shell reads the table and the acknowledgements in one transaction on the primary, calls `next_step`, and carries out
the step that it returns:

    Apply           append the line to `keys/NAME.erasures` and sync; then cut what it names, settle, drop local copies
    BringBack       append to the table a line that a fail-over lost, as `appended` returns it, in a transaction
    AnnounceReturn  append the line of this holder's return in the same way; write its id to the disk first
    Acknowledge     write the acknowledgement, if the table still has that chain at that number; then wait a second

At a start, before the first step, the shell cuts again everything that this holder's cut log names: the process may
have crashed after it wrote a line of the log and before it made the cut.

A *fork* arises when a fail-over loses lines of the table that some holders have applied. From there on the chain of
these holders differs from the table's. They follow the table from the last common line, and bring back the lines that
it lacks. A line is back only once its holder has read it from the table and applied it, because the next fail-over may
lose it again.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from storage.cuts.lines import BEGIN, Acknowledgement, ChainKeys, CutsForged, Kind, Line, Numbered


@dataclass(frozen=True, slots=True)
class Table:
    """Lines and acknowledgements as one transaction sees them; lines are numbered from 1 without a gap.

    Cuts before the last line that the reader has applied may be left out, unless a holder acknowledged at one of them.
    """

    lines: tuple[Numbered, ...] = ()
    """The lines in order."""
    acknowledged: Mapping[str, Acknowledgement] | None = None
    """The acknowledgement of each holder."""

    @property
    def head(self) -> int:
        """Return the number of the newest line, 0 if there is none."""
        return self.lines[-1].n if self.lines else 0

    def chain(self, n: int) -> bytes:
        """Return the chain at line `n`, BEGIN for 0; b"" if there is no such line."""
        if n == 0:
            return BEGIN
        at = bisect_left(self.lines, n, key=lambda each: each.n)
        return self.lines[at].chain if at < len(self.lines) and self.lines[at].n == n else b""

    def after(self, n: int) -> Numbered:
        """Return the first line after line `n`, which must exist."""
        return self.lines[bisect_left(self.lines, n + 1, key=lambda each: each.n)]

    @property
    def holders(self) -> frozenset[str]:
        """Return the names of the holders, which are the nodes that were admitted and not retired."""
        return remaining_holders(each.line for each in self.lines)

    def at(self, kind: Kind, node: str) -> list[int]:
        """Return the numbers of the lines of one kind about a node."""
        return [each.n for each in self.lines if each.line.kind is kind and each.line.node == node]

    def number_of(self, id: str) -> int | None:
        """Return the number of the line with this id, None if there is none."""
        return next((each.n for each in self.lines if each.line.id == id), None)


@dataclass(frozen=True, slots=True)
class Held:
    """The state on a holder's own disk: the lines of its cut log, and whether it must return."""

    name: str
    """Name of the node."""
    log: tuple[Numbered, ...] = ()
    """Every line that it has applied, in that order; after a fork a number may occur twice. See `reduced`."""
    returning: str | None = None
    """Id of the line of its return; "" if no id is chosen yet, None if it need not return."""


@dataclass(frozen=True, slots=True)
class Apply:
    """Step: append the next line to the cut log, and cut what it names."""

    next: Numbered
    """The line."""


@dataclass(frozen=True, slots=True)
class BringBack:
    """Step: append to the table a line that it has lost."""

    line: Line
    """The line."""


@dataclass(frozen=True, slots=True)
class AnnounceReturn:
    """Step: append to the table the line of this holder's return."""

    id: str | None
    """Id of the line; None if an id must first be chosen and stored."""


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Step: write an acknowledgement, because nothing else is left to do now."""

    n: int
    """Number of the last line."""
    chain: bytes
    """The chain at that line."""
    returned: bool
    """Whether all holders know of this holder's return, so that it may open values again."""


Step = Apply | BringBack | AnnounceReturn | Acknowledge


def remaining_holders(lines: Iterable[Line]) -> frozenset[str]:
    """Return the names that these lines admit and do not retire."""
    lines = tuple(lines)
    admitted = {line.node for line in lines if line.kind is Kind.ADMIT}
    return frozenset(admitted - {line.node for line in lines if line.kind is Kind.RETIRE})


def appended(table: Table, line: Line, keys: ChainKeys) -> Numbered:
    """Number and chain a line as the next one of a table; call it in the transaction that locks the table's head.

    A line that would retire the last holder becomes void: two holders may retire each other at the same time.
    """
    if line.kind is Kind.RETIRE and not remaining_holders([*(each.line for each in table.lines), line]):
        line = replace(line, kind=Kind.VOID)
    return Numbered(table.head + 1, keys.link(table.chain(table.head), line), line)


def followed_lines(log: Sequence[Numbered]) -> dict[int, Numbered]:
    """Return, by number, the lines that a holder follows now: the newest at each number, none of an abandoned fork."""
    followed: list[Numbered] = []
    for each in log:
        while followed and followed[-1].n >= each.n:
            followed.pop()
        followed.append(each)
    return {each.n: each for each in followed}


def reduced(log: Sequence[Numbered], table: Table) -> tuple[Numbered, ...]:
    """Return the lines of a log that must stay in memory while the table has all lines of the log.

    These are the last line, and all earlier lines that admit, retire or return a holder. As soon as the table has
    another chain at the last line, the whole log is needed again.
    """
    last = last_common(log, table)
    if lost_lines(log, table):
        return tuple(log)
    kept = {n: each.chain for n, each in followed_lines(log).items() if n >= last}
    return tuple(each for each in log if each.line.kind is not Kind.CUT or kept.get(each.n) == each.chain)


def last_common(log: Sequence[Numbered], table: Table) -> int:
    """Return the number of the last line that a holder and the table have in common, 0 if there is none."""
    followed = followed_lines(log)
    return max((n for n, each in followed.items() if table.chain(n) == each.chain), default=0)


def lost_lines(log: Sequence[Numbered], table: Table) -> tuple[Line, ...]:
    """Return the lines that a holder has applied and the table has lost.

    A line that is back in the table still counts as lost until this holder has applied it again.
    """
    last = last_common(log, table)
    back = {each.line.id for n, each in followed_lines(log).items() if n <= last}
    lost = {each.line.id: each.line for each in log if each.line.id not in back and each.line.kind is not Kind.VOID}
    return tuple(lost.values())


def holders_in(log: Sequence[Numbered]) -> frozenset[str]:
    """Return the names of the holders according to a log.

    Of several lines with one id the last counts: a retirement may have come back as void.
    """
    return remaining_holders({each.line.id: each.line for each in log}.values())


def acknowledged_by_all(table: Table, n: int, keys: ChainKeys) -> bool:
    """Return whether every holder has applied line `n`, so that no holder's keys open what the line cuts.

    An acknowledgement counts if it is genuine and the table has its chain; two at the same line must have equal trees.
    """
    holders = table.holders
    if not holders or missing_holders(table, n, keys):
        return False
    trees = {(a.n, a.tree) for a in (table.acknowledged or {}).values() if a.node in holders}
    return len(trees) == len({m for m, _ in trees})


def level(held: Held, table: Table) -> bool:
    """Return whether a holder may open sealed values.

    It must have nothing to apply or bring back, and must not be retired or returning. The shell calls this in each
    transaction that reads sealed values, after it has cut everything that its log names.
    """
    if held.returning is not None or held.name not in holders_in(held.log):
        return False
    return last_common(held.log, table) == table.head and not lost_lines(held.log, table)


def next_step(held: Held, table: Table, keys: ChainKeys) -> Step:
    """Return the next step of a holder; raise CutsForged if the chain of the next line is wrong."""
    last = last_common(held.log, table)
    if table.head > last:
        line = table.after(last)
        if line.n != last + 1 or line.chain != keys.link(table.chain(last), line.line):
            raise CutsForged("a line of the table cuts was not written by a recorder", "restore the database")
        return Apply(line)
    if lost := lost_lines(held.log, table):
        return BringBack(lost[0])
    if held.returning is None or held.name not in holders_in(held.log):
        return Acknowledge(last, table.chain(last), returned=False)
    at = table.number_of(held.returning) if held.returning else None
    if at is None:
        return AnnounceReturn(held.returning or None)
    return Acknowledge(last, table.chain(last), returned=acknowledged_by_all(table, at, keys))


def missing_holders(table: Table, n: int, keys: ChainKeys) -> tuple[str, ...]:
    """Return the names of the holders that have not acknowledged line `n`, sorted."""
    return tuple(sorted(name for name in table.holders if not _counts(table, name, n, keys)))


def may_hand_over(table: Table, name: str, keys: ChainKeys) -> bool:
    """Return whether a new holder may get the file with the keys.

    All other holders must have acknowledged its admission. The line of the admission then survives any fail-over, and
    no cut counts as done without the new holder.
    """
    at = table.at(Kind.ADMIT, name)
    return bool(at) and name in table.holders and set(missing_holders(table, at[-1], keys)) <= {name}


def _counts(table: Table, name: str, n: int, keys: ChainKeys) -> bool:
    """Return whether a holder has acknowledged line `n` with a genuine MAC and a chain that the table has."""
    found = (table.acknowledged or {}).get(name)
    return found is not None and found.n >= n and keys.genuine(found) and table.chain(found.n) == found.chain


def may_overwrite(held: Held, table: Table, keys: ChainKeys) -> bool:
    """Return whether a retired holder must overwrite its keys now.

    All other holders must have acknowledged its retirement, so that the line survives any fail-over. According to every
    line that it has applied, another holder must remain, so that its keys are not the last ones.
    """
    at = table.at(Kind.RETIRE, held.name)
    return bool(at and remaining_holders(each.line for each in held.log)) and acknowledged_by_all(table, at[0], keys)
