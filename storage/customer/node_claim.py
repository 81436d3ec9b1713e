"""Which node serves the database of a customer: the only one, or one of several that have numbers from 1 on.

Where there is to be only one, two would erase, sweep and repair each other's calls, so the daemon
claims the database: its row in `nodes` has its number, its instance and when it was last there, which it renews every
ten seconds. Whoever finds the fresh row of another instance stays away, and so do its commands. Recording never
waits for this: without a claim the database is away, and the index catches up.

- An *instance* is one boot of one machine (recorder.persist.instance). The next process of the same installation has
  the same one, after a crash, reload or upgrade too, and takes over at once. A copy of the disk has another.
- After a restart of the machine, or on another machine where a backup was restored, the claim of the old instance must
  first be STALE_SECONDS old; a daemon that stops for good gives it up. A database that was away itself leaves its node
  as long to come back before another one may take it.
- Nodes with numbers from 1 on have a row each. The first of them takes over what was recorded before.
- A database that was written with other keys is refused however old its claim is: its rows could not be opened, and its
  leaves would be given again.

A file of SQLite is used by one node, which `data_dir/.lock` takes care of; it has no row.
"""

import hashlib
from dataclasses import dataclass

import sqlalchemy as sa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.calls.call_row import STATE_CODES, CallState
from storage.customer.settings import Place, audit_key
from storage.database.database import Database
from storage.database.schema import calls, nodes
from storage.errors import OtherNode
from storage.keys.key_store import CustomerKeys

STALE_SECONDS = 30.0
"""Age from which on a claim no longer counts: two renewals failed, and the third is late."""

_MICROS = 1_000_000
_NOW = sa.cast(sa.extract("epoch", sa.func.clock_timestamp()) * _MICROS, sa.BigInteger)
_UP_SINCE = sa.cast(sa.extract("epoch", sa.func.pg_postmaster_start_time()) * _MICROS, sa.BigInteger)
LEFT = 0
"""The time at which a node was seen that has given up its claim."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a node is known by in one database."""

    customer: str
    """Name of the customer."""
    number: int
    """Number of the node."""
    name: str
    """Name of the node."""
    instance: str
    """Random id of this boot of this machine, "" if no daemon ran since."""
    tree: str
    """Fingerprint of the key tree, 32 hexadecimal digits."""

    @classmethod
    def of(cls, place: Place, keys: CustomerKeys) -> "Identity":
        """Return the identity of this node for a customer."""
        public = audit_key(keys).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        fingerprint = hashlib.sha256(public).hexdigest()[:32]
        return cls(keys.customer, keys.node, place.node, place.instance, fingerprint)


async def check(connection: AsyncConnection, me: Identity) -> None:
    """Raise OtherNode if another node serves a database, which may be empty or of an older schema."""
    if connection.dialect.name != "postgresql":
        return
    if await connection.run_sync(lambda plain: sa.inspect(plain).has_table(nodes.name)):
        await _check(connection, me, nodes.c.seen)


async def take(database: Database, me: Identity) -> None:
    """Claim a database for this node, and take over calls that it recorded under another number.

    Raises OtherNode; the claim is then as it was.
    """
    async with database.writing() as connection:
        if database.dialect == "postgresql":
            await _check(
                connection, me, sa.case((nodes.c.seen == LEFT, LEFT), else_=sa.func.greatest(nodes.c.seen, _UP_SINCE))
            )
            others = sa.and_(nodes.c.node.not_in((0, me.number)), sa.literal(me.number > 0))
            shared = await connection.scalar(sa.select(sa.exists().where(others)))
            mine = nodes.c.node == me.number
            await connection.execute(nodes.delete().where(~others, ~mine))
            row = {"label": me.name, "tree": me.tree, "instance": me.instance, "seen": _NOW, "state": "active"}
            if not (await connection.execute(nodes.update().where(mine).values(**row))).rowcount:
                await connection.execute(nodes.insert().values(node=me.number, **row))
            if shared:
                return  # live calls that are not of this node are of those others
        live = calls.update().where(calls.c.state == STATE_CODES[CallState.RECORDING], calls.c.node != me.number)
        await connection.execute(live.values(node=me.number))


async def renew(database: Database, me: Identity) -> None:
    """Say that this node is still there; raises OtherNode if another one has claimed the database meanwhile."""
    if database.dialect == "postgresql" and not await _say(database, me, _NOW):
        await take(database, me)  # the row is gone: an older database may have been restored


async def give_up(database: Database, me: Identity) -> None:
    """Let another node take the database at once."""
    if database.dialect == "postgresql":
        await _say(database, me, LEFT)


async def _say(database: Database, me: Identity, seen: sa.ColumnElement[int] | int) -> bool:
    """Write when this node was there; return False if it has no claim."""
    mine = sa.and_(nodes.c.node == me.number, nodes.c.instance == me.instance)
    async with database.beside() as connection:
        # nothing is lost with this commit, and a node may have a thousand customers
        await connection.execute(sa.select(sa.func.set_config("synchronous_commit", "off", True)))
        return bool((await connection.execute(nodes.update().where(mine).values(seen=seen))).rowcount)


async def _check(connection: AsyncConnection, me: Identity, seen: sa.ColumnElement[int]) -> None:
    """Raise OtherNode if a row is fresh and another instance's, or has other keys; a row of the future is not fresh."""
    asked = sa.select(nodes, sa.type_coerce(_NOW - seen, sa.BigInteger).label("age"))
    for other in await connection.execute(asked):
        named = f"node {other.label}, number {other.node}"
        if other.tree and other.tree != me.tree:  # a node that has only been admitted has shown none
            raise OtherNode(
                f"the database of customer {me.customer} was written with other keys, by {named}",
                "restore the keys of that installation, or name a database of its own in [storage] database",
                other.label,
            )
        if me.number and other.node not in (0, me.number):
            continue
        if other.instance != me.instance and abs(other.age) < STALE_SECONDS * _MICROS:
            raise OtherNode(
                f"the database of customer {me.customer} is served by {named}, and several nodes are not supported yet",
                f"stop that recorder, or name another database in [storage] database; a node that is gone is forgotten "
                f"after {STALE_SECONDS:.0f} seconds",
                other.label,
            )
