"""Short-lived values of the admin page, such as sessions, in rows of a database that several nodes share.

    values, now = await rows.look("session " + secret)          `now`: seconds, by the clock of the database
    await rows.change(("session " + secret,), change)           nobody else changes these names meanwhile

A name contains a secret that only a browser keeps, such as a cookie, or a keyed hash of what somebody typed. Neither is
stored: the key of a row is a keyed hash of its name, and its value (JSON) is sealed under a key derived from the name.
So a session opens only with its cookie, even for somebody who has the database and all present keys.
"""

import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.database.database import Database
from storage.database.database_clock import MICROS, NOW
from storage.database.schema import page_sessions
from storage.keys.key_tree import LAST_LEAF
from storage.keys.row_keys import Keys

LABEL = "page"
SECRET_BYTES = 32
PROOF_BYTES = 16  # of a secret; they expose an invented secret without a query, in the same way for all customers
NONCE = 12

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Written(Generic[T]):
    """The rows that a change writes and deletes, and its result."""

    result: T
    """The value that the caller of the change gets."""
    put: Mapping[str, tuple[Any, float]] = field(default_factory=dict)
    """Values by name, each with the time at which it ends."""
    drop: Collection[str] = ()
    """Names of rows that are deleted."""


Change = Callable[[Mapping[str, Any], float], Written[T]]
"""Takes the existing values by name, and the time; returns what to write."""


class SharedRows:
    """The rows of one customer."""

    def __init__(
        self,
        keys: Keys,
        database: Callable[[], Database],
        random: Callable[[int], bytes],
        refreshed: Callable[[AsyncConnection], Awaitable[bool]],
        refresh: Callable[[], Awaitable[object]],
    ) -> None:
        """Take `refreshed`, which returns whether this node's accounts are current; `refresh` updates them."""
        self._keys = keys
        self._database = database
        self._random = random
        self._refreshed = refreshed
        self._refresh = refresh

    def secret(self) -> str:
        """Return a new secret for a browser, which `genuine` recognises on any node."""
        plain = self._random(SECRET_BYTES).hex()
        return plain + self._proof(plain)

    def genuine(self, secret: str) -> bool:
        """Return whether this is a secret that `secret` returned on any node."""
        plain, proof = secret[: 2 * SECRET_BYTES], secret[2 * SECRET_BYTES :]
        return hmac.compare_digest(self._proof(plain).encode(), proof.encode("utf-8", "replace"))

    def key(self, name: str) -> str:
        """Return the key of a row; it is enough to drop the row, but not to open it."""
        return self._mac("row", name).hex()

    async def look(self, *names: str) -> tuple[Mapping[str, Any], float]:
        """Return the existing values by name, and the time; bring the accounts up to date with them."""
        async with self._database().beside() as connection:
            found = await self._read(connection, names)
            current = await self._refreshed(connection)
        if not current:
            await self._refresh()
        return found

    async def change(self, names: Sequence[str], change: Change[T]) -> T:
        """Change values under a lock and return the result of the change; bring the accounts up to date with them."""
        async with self._database().beside() as connection:
            locks = sorted(int.from_bytes(bytes.fromhex(self.key(name))[:8], signed=True) for name in names)
            for lock in locks:  # in one order, so that two changes of the same rows cannot deadlock
                await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(lock)))
            values, now = await self._read(connection, names)
            written = change(values, now)
            if written.drop:
                await _drop(connection, [self.key(name) for name in written.drop])
            for name, (value, ends) in written.put.items():
                row = {"ends_at": int(ends * MICROS), "content": self._seal(name, value)}
                statement = insert(page_sessions).values(key=bytes.fromhex(self.key(name)), **row)
                await connection.execute(statement.on_conflict_do_update(index_elements=["key"], set_=row))
            current = await self._refreshed(connection)
        if not current:
            await self._refresh()
        return written.result

    async def take(self, name: str) -> Any:
        """Return a value and delete it, so that nobody else gets it; None if there is none."""
        return await self.change((name,), lambda values, now: Written(values.get(name), drop=(name,)))

    async def ends(self, keys: Sequence[str]) -> Mapping[str, float]:
        """Return when rows end, by key; those that do not exist are left out."""
        wanted = [bytes.fromhex(key) for key in keys]
        asked = sa.select(page_sessions.c.key, page_sessions.c.ends_at).where(page_sessions.c.key.in_(wanted))
        async with self._database().beside() as connection:
            return {key.hex(): ends / MICROS for key, ends in await connection.execute(asked)}

    async def drop(self, *keys: str) -> None:
        """Delete rows by key."""
        if keys:
            async with self._database().beside() as connection:
                await _drop(connection, keys)

    async def purge(self) -> None:
        """Delete the rows that have ended."""
        async with self._database().beside() as connection:
            await connection.execute(page_sessions.delete().where(page_sessions.c.ends_at < clock()))

    async def _read(self, connection: AsyncConnection, names: Sequence[str]) -> tuple[dict[str, Any], float]:
        keys = {bytes.fromhex(self.key(name)): name for name in names}
        now: int = (await connection.execute(sa.select(clock()))).scalar_one()
        asked = sa.select(page_sessions).where(page_sessions.c.key.in_(list(keys)), page_sessions.c.ends_at > now)
        found: dict[str, Any] = {}
        for row in await connection.execute(asked):
            name = keys[row.key]
            value = self._unseal(name, row.content)
            if value is not None:
                found[name] = value
        return found, now / MICROS

    def _seal(self, name: str, value: Any) -> bytes:
        nonce = self._random(NONCE)
        return nonce + AESGCM(self._mac("seal", name)).encrypt(nonce, json.dumps(value).encode(), None)

    def _unseal(self, name: str, sealed: bytes) -> Any:
        """Open a value; one that was altered counts as missing."""
        try:
            return json.loads(AESGCM(self._mac("seal", name)).decrypt(sealed[:NONCE], sealed[NONCE:], None))
        except (InvalidTag, ValueError):
            return None

    def _proof(self, plain: str) -> str:
        return self._mac("secret", plain)[:PROOF_BYTES].hex()

    def _mac(self, use: str, name: str) -> bytes:
        key = self._keys.secret(LAST_LEAF, LABEL)
        return hmac.new(key, f"{use}\0{name}".encode("utf-8", "surrogatepass"), hashlib.sha256).digest()


def clock() -> sa.ColumnElement[int]:
    """Return the time by the clock of the database, in microseconds."""
    return NOW


async def _drop(connection: AsyncConnection, keys: Sequence[str]) -> None:
    await connection.execute(page_sessions.delete().where(page_sessions.c.key.in_([bytes.fromhex(k) for k in keys])))
