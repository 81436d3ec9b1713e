"""What a holder of keys does with the lines of the table `cuts`: one durable step after the other. Pure.

The shell reads table and acknowledgements in one transaction on the primary, asks `next_step`, and carries it out:

    Apply           append the line to `keys/NAME.erasures`, sync; then cut what it names, settle, drop local copies
    BringBack       a line that a fail-over lost: append it to the table, by `appended`, in a transaction
    SayReturn       append the line of one's return likewise; its id is on the disk before
    Acknowledge     write the acknowledgement, if the table still has that chain at that number; then wait a second

At a start everything that the own lines name is cut again before the first step: a crash may have come after a line.

A *fork* is what a fail-over leaves: the table lost lines that some holders had applied. Their chain differs from the
table's from there on; they follow the table from the last common line, and bring back what it lacks. A line counts as
back only when it was read back and applied, because the next fail-over may lose it again.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from storage.cuts.lines import BEGIN, Acknowledgement, ChainKeys, CutsForged, Kind, Line, Numbered


@dataclass(frozen=True, slots=True)
class Table:
    """What one transaction sees. Lines are numbered from 1 without a gap.

    Cuts below the last line that the reader followed may be left out, but not those at which somebody acknowledged.
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
        """Return the chain at a line, BEGIN before the first; b"" if there is no such line."""
        if n == 0:
            return BEGIN
        at = bisect_left(self.lines, n, key=lambda each: each.n)
        return self.lines[at].chain if at < len(self.lines) and self.lines[at].n == n else b""

    def after(self, n: int) -> Numbered:
        """Return the first line after another; there must be one."""
        return self.lines[bisect_left(self.lines, n + 1, key=lambda each: each.n)]

    @property
    def holders(self) -> frozenset[str]:
        """Return the holders that the lines leave."""
        return staying(each.line for each in self.lines)

    def at(self, kind: Kind, node: str) -> list[int]:
        """Return the numbers of the lines of one kind about a node."""
        return [each.n for each in self.lines if each.line.kind is kind and each.line.node == node]

    def number_of(self, id: str) -> int | None:
        """Return the number of a line."""
        return next((each.n for each in self.lines if each.line.id == id), None)


@dataclass(frozen=True, slots=True)
class Held:
    """What a holder knows of the lines: its cut log, and whether it must return."""

    name: str
    """Name of the node."""
    log: tuple[Numbered, ...] = ()
    """Every line that it ever applied, in that order; after a fork a number may be there twice. See `reduced`."""
    returning: str | None = None
    """Id of the line of its return; "" if that is still to be written, None if it does not return."""


@dataclass(frozen=True, slots=True)
class Apply:
    """Cut what the next line names."""

    next: Numbered
    """The line."""


@dataclass(frozen=True, slots=True)
class BringBack:
    """Append a line again that the table has lost."""

    line: Line
    """The line."""


@dataclass(frozen=True, slots=True)
class SayReturn:
    """Write that this holder returns; `id` is None if one must be chosen first, and stored."""

    id: str | None
    """Id of the line."""


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Say what was cut; nothing else is to be done now."""

    n: int
    """Number of the last line."""
    chain: bytes
    """The chain there."""
    returned: bool
    """Whether the own return is known to all, so that this holder counts again."""


Step = Apply | BringBack | SayReturn | Acknowledge


def staying(lines: Iterable[Line]) -> frozenset[str]:
    """Return the holders that lines leave: admitted and not retired."""
    lines = tuple(lines)
    admitted = {line.node for line in lines if line.kind is Kind.ADMIT}
    return frozenset(admitted - {line.node for line in lines if line.kind is Kind.RETIRE})


def appended(table: Table, line: Line, keys: ChainKeys) -> Numbered:
    """Return a line as the next one of a table, in the transaction that holds the lock of its head.

    A line that would retire the last holder becomes void: two can retire each other while they do not see each other.
    """
    if line.kind is Kind.RETIRE and not staying([*(each.line for each in table.lines), line]):
        line = replace(line, kind=Kind.VOID)
    return Numbered(table.head + 1, keys.link(table.chain(table.head), line), line)


def path(log: Sequence[Numbered]) -> dict[int, Numbered]:
    """Return the lines as a holder last followed them: the newest at each number, and none above a later fork."""
    found: list[Numbered] = []
    for each in log:
        while found and found[-1].n >= each.n:
            found.pop()
        found.append(each)
    return {each.n: each for each in found}


def reduced(log: Sequence[Numbered], table: Table) -> tuple[Numbered, ...]:
    """Return what has to be remembered of a log while the table has the line at which it ends, and lacks none of it.

    That is the line itself, and who came, left and returned before it. Once the table has another chain at that line,
    all of the log is needed again.
    """
    last = common(log, table)
    if missing(log, table):
        return tuple(log)
    kept = {n: each.chain for n, each in path(log).items() if n >= last}
    return tuple(each for each in log if each.line.kind is not Kind.CUT or kept.get(each.n) == each.chain)


def common(log: Sequence[Numbered], table: Table) -> int:
    """Return the number of the last line up to which a holder and the table have the same, 0 if there is none."""
    followed = path(log)
    return max((n for n, each in followed.items() if table.chain(n) == each.chain), default=0)


def missing(log: Sequence[Numbered], table: Table) -> tuple[Line, ...]:
    """Return the lines of a holder that are not back: not applied at or below the last common line."""
    last = common(log, table)
    back = {each.line.id for n, each in path(log).items() if n <= last}
    lost = {each.line.id: each.line for each in log if each.line.id not in back and each.line.kind is not Kind.VOID}
    return tuple(lost.values())


def serving(log: Sequence[Numbered]) -> frozenset[str]:
    """Return the holders that a log leaves, by what was read last under each id: a retirement may have become void."""
    return staying({each.line.id: each.line for each in log}.values())


def acknowledged(table: Table, n: int, keys: ChainKeys) -> bool:
    """Say whether every holder has cut line `n`: then no copy and no secret of today opens what it names.

    An acknowledgement counts if it is genuine and the table has its chain; two at one line must be of equal trees.
    """
    holders = table.holders
    if not holders or missing_holders(table, n, keys):
        return False
    trees = {(a.n, a.tree) for a in (table.acknowledged or {}).values() if a.node in holders}
    return len(trees) == len({m for m, _ in trees})


def level(held: Held, table: Table) -> bool:
    """Say whether a holder may open sealed values: nothing to apply or to bring back, not retired, not returning.

    The shell asks in each transaction about sealed values, and once everything that its lines name is cut.
    """
    if held.returning is not None or held.name not in serving(held.log):
        return False
    return common(held.log, table) == table.head and not missing(held.log, table)


def next_step(held: Held, table: Table, keys: ChainKeys) -> Step:
    """Return what a holder does next; raises CutsForged if the next line is not bound to those before it."""
    last = common(held.log, table)
    if table.head > last:
        line = table.after(last)
        if line.n != last + 1 or line.chain != keys.link(table.chain(last), line.line):
            raise CutsForged("a line of the cuts was written by somebody else", "restore the database")
        return Apply(line)
    lost = missing(held.log, table)
    if lost:
        return BringBack(lost[0])
    if held.returning is None or held.name not in serving(held.log):
        return Acknowledge(last, table.chain(last), returned=False)
    at = table.number_of(held.returning) if held.returning else None
    if at is None:
        return SayReturn(held.returning or None)
    return Acknowledge(last, table.chain(last), returned=acknowledged(table, at, keys))


def missing_holders(table: Table, n: int, keys: ChainKeys) -> tuple[str, ...]:
    """Return the holders that have not acknowledged line `n`, by name."""
    return tuple(sorted(name for name in table.holders if not _counts(table, name, n, keys)))


def may_hand_over(table: Table, name: str, keys: ChainKeys) -> bool:
    """Say whether the file for a new holder may be made: every other one has acknowledged its admission.

    Then the line comes back whatever is lost, and no cut counts as done without the new one.
    """
    at = table.at(Kind.ADMIT, name)
    return bool(at) and name in table.holders and set(missing_holders(table, at[-1], keys)) <= {name}


def _counts(table: Table, name: str, n: int, keys: ChainKeys) -> bool:
    given = (table.acknowledged or {}).get(name)
    return given is not None and given.n >= n and keys.genuine(given) and table.chain(given.n) == given.chain


def may_overwrite(held: Held, table: Table, keys: ChainKeys) -> bool:
    """Say whether a retired holder must overwrite its keys now.

    All others have acknowledged its retirement, so the line comes back whatever is lost; and by everything that it ever
    applied another one stays, so the keys are not the last.
    """
    at = table.at(Kind.RETIRE, held.name)
    return bool(at and staying(each.line for each in held.log)) and acknowledged(table, at[0], keys)
