"""Recordings of one communication session by several nodes.

An SBC may record a call at two nodes at once (2N), or go on at another node when the first refuses or is lost (N+1).
All these recordings name the same communication session in their metadata (RFC 7865 section 6.2); `calls.session` holds
its keyed hash. Of the recordings that meet its filters, a list shows the one with the smallest leaf; it shows one that
ended at once only if there is no other. Hold, retention, erasure and exports apply to all of them. With one node the
column is empty, because a single node tells its recordings apart by itself.

Only recordings of different nodes belong together, and only within a day of each other: if a client counts its sessions
from 1 after each restart, an erasure must not reach the calls of strangers.
"""

import hmac
from collections.abc import Iterable, Sequence
from struct import Struct
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.batches import batches
from storage.calls.call_document import CallDetails
from storage.database.schema import calls
from storage.keys.key_tree import LAST_LEAF
from storage.keys.row_keys import Keys

LABEL_SESSION = "session"  # label of the hash key: a secret of the last leaf, which is never cut
LEAST = 16  # characters; a shorter id is ignored: 16 random bytes in Base64 (RFC 7865 section 7) are 22
_HASH = Struct(">q")


def session_of(keys: Keys, details: CallDetails) -> int | None:
    """Return the keyed hash of the session that a call names; None without an id long enough to be unique."""
    told = details.get("session_id")
    named = told.reveal() if told is not None else ""
    if len(named) < LEAST:
        return None
    key = keys.secret(LAST_LEAF, LABEL_SESSION)
    found: int = _HASH.unpack_from(hmac.digest(key, named.encode("utf-8", "replace"), "sha256"))[0]
    return found


def together(one: Any, other: Any) -> sa.ColumnElement[bool]:
    """Return the condition that rows of two tables of calls are recordings of one session by different nodes."""
    near = other.c.day.between(one.c.day - 1, one.c.day + 1)
    return sa.and_(other.c.session == one.c.session, other.c.node != one.c.node, near)


async def any_session(connection: AsyncConnection) -> bool:
    """Return whether several nodes write the index; reads one entry of a database index that is empty with one."""
    return await connection.scalar(_ANY) is not None


async def others_of(connection: AsyncConnection, ids: Iterable[str]) -> dict[str, list[str]]:
    """Return, for each of these calls that has any, the ids of the other recordings of its session."""
    found: dict[str, list[str]] = {}
    if not await any_session(connection):
        return found
    for part in batches(list(ids)):
        for one, other in await connection.execute(_OTHERS.where(calls.c.id.in_(part))):
            found.setdefault(one, []).append(other)
    return found


async def with_others(connection: AsyncConnection, ids: Sequence[str]) -> list[str]:
    """Return these calls, then the other recordings of their sessions, each once."""
    others = await others_of(connection, ids)
    return list(dict.fromkeys([*ids, *(other for id in ids for other in others.get(id, ()))]))


_ANY = sa.select(calls.c.session).where(calls.c.session.is_not(None)).limit(1)
_OTHER = calls.alias("other")
_OTHERS = (
    sa.select(calls.c.id, _OTHER.c.id.label("other"))
    .select_from(calls.join(_OTHER, together(calls, _OTHER)))
    .order_by(_OTHER.c.leaf)
)
