"""The retention rules that a customer has stored.

    stored = await customer.rules.get()                  Stored: default_days, wins, rules, changed_at, changed_by
    stored = await customer.rules.put(rules, by=…, default_days=…, wins=…)     omitted arguments change nothing
    policy = await customer.rules.policy()               for storage.retention.policy.decide
    policy = customer.rules.policy_of(spec, …)         the same for rules that are not stored, for a preview

A rule is a `RuleSpec(days, direction, source, party, name)`; party and name are stored sealed. Raises BadRule.
"""

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from storage import search_forms
from storage.calls.call_row import Direction
from storage.database.schema import retention, retention_rules
from storage.erasure import erasure_rows
from storage.errors import Forgotten, StorageError
from storage.ids import new_id
from storage.journal.journal import JournaledDatabase, JournaledRows, dropped, taken
from storage.keys import sealing
from storage.retention.policy import MAX_DAYS, Policy, Rule, Wins
from storage.timestamps import from_micros, to_micros

_KIND = "rule"
_CHANGED = sa.select(retention.c.changed_at, retention.c.changed_by)  # shows also when another process has stored rules
_ROW = 1  # the table has one row
MAX_RULES = 200  # a sweep tries each rule on every call
MAX_NAME = 200  # characters of a name, a party or a source
FORGOTTEN = "Forgotten: it was replaced after this backup was made"
"""Name shown for a rule whose own name and party were erased."""


class Unchanged(Enum):
    """Marks a value that stays unchanged, because None would mean for ever."""

    YES = "unchanged"


class RuleFault(Enum):
    """Reason why a rule is refused."""

    COUNT = f"there are more than {MAX_RULES} rules"
    DAYS = f"must be a whole number from 0 to {MAX_DAYS}, or null"
    LENGTH = f"at most {MAX_NAME} characters in each field"
    FORGOTTEN = "its party is forgotten; leave the rule out or write it again"
    PARTY = "must not be blank"
    SOURCE = "must be an address or a network"


class BadRule(StorageError):
    """A rule is invalid; the message names the member and repeats nothing that was sent."""

    def __init__(self, fault: RuleFault, place: str = "rules", rule: int | None = None) -> None:
        """`place`: the member, such as "rules.0.source"; `rule`: number of the rule, from 1."""
        super().__init__(fault.value if rule is None else f"rule {rule}: {fault.value}")
        self.fault = fault
        self.place = place


@dataclass(frozen=True, slots=True)
class RuleSpec:
    """A rule as a client writes it."""

    days: int | None
    """Days from the end of the call, None to keep it for ever."""
    direction: Direction | None = None
    """Only calls of this direction."""
    source: str | None = None
    """Only calls from this address or network."""
    party: str | None = field(default=None, repr=False)
    """Only calls with this party, in any spelling."""
    name: str = field(default="", repr=False)
    """Name that the customer gave the rule."""


@dataclass(frozen=True, slots=True)
class StoredRule:
    """A rule with its id."""

    id: str
    """Random id; receipts and previews name it."""
    spec: RuleSpec
    """The rule itself."""
    forgotten: bool = False
    """Whether a backup brought it back after it was replaced, so that its party and name cannot be read."""


@dataclass(frozen=True, slots=True)
class Stored:
    """The retention settings that a customer has stored."""

    default_days: int | None
    """Days if no rule matches, None to keep calls for ever."""
    wins: Wins
    """Which of several matching rules applies."""
    rules: tuple[StoredRule, ...] = ()
    """Rules in the order in which they were given."""
    changed_at: datetime | None = None
    """When the rules were last changed, None if never."""
    changed_by: str | None = None
    """Name of the token that changed them."""


class Rules(JournaledRows):
    """The retention rules of one customer."""

    def __init__(self, store: JournaledDatabase, country: str, default_days: int | None) -> None:
        """`default_days`: default of the configuration, which applies until another default is stored."""
        super().__init__(store)
        self._country = country
        self._default_days = default_days
        self._known: tuple[Any, Policy] | None = None  # when and by whom the rules were stored, with their policy
        self._changed: Callable[[], None] = lambda: None

    def on_change(self, changed: Callable[[], None]) -> None:
        """Call `changed` whenever this process has stored rules, because a sweep is then due."""
        self._changed = changed

    async def get(self) -> Stored:
        """Return the rules in force."""
        async with self._database.reading() as connection:
            return await self._read(connection)

    async def policy(self) -> Policy:
        """Return the rules in force as a policy."""
        async with self._database.reading() as connection:
            return await self.policy_in(connection)

    async def policy_in(self, connection: AsyncConnection) -> Policy:
        """Return the rules as a transaction sees them, as a policy; one without parties is cached until it changes."""
        changed = (await connection.execute(_CHANGED)).first()
        if self._known is not None and self._known[0] == changed:
            return self._known[1]
        stored = await self._read(connection)
        policy = self._policy(stored.rules, stored.default_days, stored.wins)
        named = any(rule.needles is not None for rule in policy.rules)
        self._known = None if named else (changed, policy)  # a party's number must not stay in memory
        return policy

    def policy_of(self, rules: Sequence[RuleSpec], default_days: int | None, wins: Wins) -> Policy:
        """Build a policy from rules that are not stored, with the ids "1", "2"…; raises BadRule."""
        check(rules, default_days)
        return self._policy([StoredRule(str(n), r) for n, r in enumerate(rules, 1)], default_days, wins)

    async def put(
        self,
        rules: Sequence[RuleSpec],
        *,
        by: str,
        default_days: int | Unchanged | None = Unchanged.YES,
        wins: Wins | None = None,
    ) -> Stored:
        """Replace all rules; a rule that is the same as an old one keeps its id. Raises BadRule.

        An approval that the last sweep requested is withdrawn, because nobody may approve erasures under the old rules.
        """
        check(rules, None if default_days is Unchanged.YES else default_days)
        async with self._database.writing() as connection:
            before = await self._read(connection)
            days = before.default_days if default_days is Unchanged.YES else default_days
            after = Stored(days, wins or before.wins, self._name(rules, before.rules), self._now(), by)
            old = await self._write(connection, after)
            await erasure_rows.withdraw(connection)
        if old:
            await self._cutter.cut(*old)  # old backups also contain the names of deleted rules
        self._known = None
        self._changed()
        return after

    def _name(self, rules: Sequence[RuleSpec], before: Sequence[StoredRule]) -> tuple[StoredRule, ...]:
        known = {rule.spec: rule.id for rule in before if not rule.forgotten}
        return tuple(StoredRule(known.pop(rule, "") or new_id(self._random), rule) for rule in rules)

    async def _read(self, connection: AsyncConnection) -> Stored:
        record: Any = (await connection.execute(sa.select(retention))).first()
        if record is None:
            return Stored(self._default_days, Wins.LONGEST)
        asked = sa.select(retention_rules).order_by(retention_rules.c.position)
        found = tuple(self._open(rule) for rule in await connection.execute(asked))
        changed = from_micros(record.changed_at)
        return Stored(record.default_days, Wins(record.wins), found, changed, record.changed_by)

    def _open(self, record: Any) -> StoredRule:
        direction = None if record.direction is None else Direction(record.direction)
        try:
            told = sealing.unseal(self._keys, record.leaf, _KIND, record.id, record.sealed)
        except Forgotten:
            spec = RuleSpec(record.days, direction, record.source, None, FORGOTTEN)
            return StoredRule(record.id, spec, forgotten=True)
        return StoredRule(record.id, RuleSpec(record.days, direction, record.source, told["party"], told["name"]))

    async def _write(self, connection: AsyncConnection, stored: Stored) -> list[int]:
        """Write all rules; return the leaves of the old ones."""
        old = [int(leaf) for leaf in await connection.scalars(sa.select(retention_rules.c.leaf))]
        await connection.execute(retention_rules.delete())
        await connection.execute(retention.delete())
        head = {"id": _ROW, "default_days": stored.default_days, "wins": stored.wins.value}
        changed = {"changed_at": to_micros(stored.changed_at or self._now()), "changed_by": stored.changed_by}
        await connection.execute(retention.insert(), {**head, **changed})
        values = [self._row(position, rule) for position, rule in enumerate(stored.rules)]
        if values:
            await connection.execute(retention_rules.insert(), values)
        now = [item for table in (retention, retention_rules) for item in await taken(connection, table)]
        await self._journal.write([dropped(retention), dropped(retention_rules), *now])
        return old

    def _row(self, position: int, rule: StoredRule) -> dict[str, Any]:
        leaf, spec = sealing.new_leaf(self._keys), rule.spec
        told = {"party": spec.party, "name": spec.name}
        return {
            "id": rule.id,
            "position": position,
            "days": spec.days,
            "direction": None if spec.direction is None else spec.direction.value,
            "source": spec.source,
            "leaf": leaf,
            "sealed": sealing.seal(self._keys, leaf, _KIND, rule.id, told),
        }

    def _policy(self, rules: Sequence[StoredRule], default_days: int | None, wins: Wins) -> Policy:
        made = []
        for rule in rules:
            w = rule.spec
            needles = None if w.party is None else search_forms.asked(w.party, self._country, exact=True)
            made.append(Rule(rule.id, w.days, w.direction, needles, w.source, rule.forgotten))
        return Policy(default_days, tuple(made), wins)


def check(rules: Sequence[RuleSpec], default_days: int | None) -> None:
    """Check rules; raises BadRule for any that is invalid."""
    if len(rules) > MAX_RULES:
        raise BadRule(RuleFault.COUNT)
    if default_days is not None and not 0 <= default_days <= MAX_DAYS:
        raise BadRule(RuleFault.DAYS, "default_days")
    for number, rule in enumerate(rules, 1):
        place = f"rules.{number - 1}"
        if rule.days is not None and not 0 <= rule.days <= MAX_DAYS:
            raise BadRule(RuleFault.DAYS, f"{place}.days", number)
        if any(len(text) > MAX_NAME for text in (rule.name, rule.party or "", rule.source or "")):
            raise BadRule(RuleFault.LENGTH, place, number)
        if rule.name == FORGOTTEN:  # a client sent back the name shown; without its party it would match everyone
            raise BadRule(RuleFault.FORGOTTEN, place, number)
        if rule.party is not None and not rule.party.strip():
            raise BadRule(RuleFault.PARTY, f"{place}.party", number)
        if rule.source is not None and not _is_source(rule.source):
            raise BadRule(RuleFault.SOURCE, f"{place}.source", number)


def _is_source(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True
