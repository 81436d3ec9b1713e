"""Receipts of erasures: what was erased, why, at whose request and when; signed, without personal data.

    verdict = receipts.verify(data, customer, public_key)     data: a receipt, or the API's whole answer, as JSON

A receipt is a JSON object. `signature` is an Ed25519 signature of a prefix and the canonical form (sorted keys, no
blanks, ASCII) of all other members, so none can be changed, added or left out. The key is the customer's. The receipt
contains it (`public_key`), so that others who know it can check the receipt without this program.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from storage.errors import StorageError
from storage.json_bytes import canonical_json
from storage.timestamps import to_text

VERSION = 1
MORE = 2
"""Version of a receipt that names objects that a store refuses to delete, or nodes that held the keys, or both."""
MAX_BYTES = 256 << 20  # a sweep of five million calls
_SIGNED = b"siprec-recorder/1 erasure receipt\0"
_MEMBERS = frozenset(
    "version customer erasure cause rule calls counts requested_by requested_at approved_by approved_at done_at "
    "public_key signature".split()
)


_FURTHER = frozenset({"locked", "holders"})
"""Members that only version 2 has, at least one of them."""


class BadReceipt(StorageError):
    """The data are not a receipt, or this customer did not sign them as they are."""


@dataclass(frozen=True, slots=True)
class Locked:
    """Ciphertext of an erased call that an object store keeps; its key is cut, so nobody can open it."""

    call: str
    """Id of the call."""
    object: str
    """Name of the object, without the prefix of the configuration."""
    until: datetime | None
    """When its lock ends; None: it is held until somebody ends the hold."""


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts that a receipt states."""

    customer: str
    """Name of the customer."""
    erasure: str
    """Id of the erasure."""
    cause: str
    """request, retention, or restored (done again after a backup was restored)."""
    rule: str | None
    """Id of the retention rule, None for the default and for requests."""
    calls: Sequence[str]
    """Ids of the calls that no longer exist."""
    requested_by: str
    """Name of the token, or of the recorder itself."""
    requested_at: datetime
    """When it was requested."""
    approved_by: str | None
    """Name of the second token, None if none was needed."""
    approved_at: datetime | None
    """When it was approved."""
    done_at: datetime
    """When everything was verified to be erased."""
    locked: Sequence[Locked] = ()
    """Objects that an object store refuses to delete."""
    holders: Mapping[str, bool] = field(default_factory=dict)
    """Nodes that held the keys, if several did, and whether each still did; all that still did had cut them."""


def sign(key: Ed25519PrivateKey, facts: Facts) -> dict[str, Any]:
    """Return a signed receipt."""
    calls = sorted(set(facts.calls))
    document: dict[str, Any] = {
        "version": MORE if facts.locked or facts.holders else VERSION,
        "customer": facts.customer,
        "erasure": facts.erasure,
        "cause": facts.cause,
        "rule": facts.rule,
        "calls": calls,
        "counts": {"calls": len(calls)},
        "requested_by": facts.requested_by,
        "requested_at": to_text(facts.requested_at),
        "approved_by": facts.approved_by,
        "approved_at": None if facts.approved_at is None else to_text(facts.approved_at),
        "done_at": to_text(facts.done_at),
        "public_key": key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex(),
    }
    if facts.locked:
        document["locked"] = [
            {"call": each.call, "object": each.object, "until": None if each.until is None else to_text(each.until)}
            for each in sorted(facts.locked, key=lambda each: each.object)
        ]
    if facts.holders:
        document["holders"] = [{"node": node, "retired": not held} for node, held in sorted(facts.holders.items())]
    return {**document, "signature": key.sign(_statement(document)).hex()}


def parse(data: bytes) -> dict[str, Any]:
    """Parse a receipt, alone or inside the API's answer about its erasure; raises BadReceipt."""
    if len(data) > MAX_BYTES:
        raise BadReceipt("this is too large for a receipt")
    try:
        found = json.loads(data, object_pairs_hook=_once, parse_constant=_never, parse_float=_never)
    except (ValueError, RecursionError):
        raise BadReceipt("this is not a receipt: it cannot be read") from None
    if isinstance(found, dict) and isinstance(found.get("receipt"), dict):
        inner: dict[str, Any] = found["receipt"]
        if found.get("id", inner.get("erasure")) != inner.get("erasure") or found.get("state", "done") != "done":
            raise BadReceipt("the answer that contains the receipt does not belong to it")
        found = inner
    elif isinstance(found, dict) and found.get("receipt", found) is None:
        raise BadReceipt("the answer contains no receipt yet: the erasure is not done")
    if not isinstance(found, dict):
        raise BadReceipt("this is no receipt")
    return found


def verify(data: bytes, customer: str, key: Ed25519PublicKey) -> dict[str, Any]:
    """Return the receipt if every member is as this customer's key signed it; raises BadReceipt."""
    receipt = parse(data)
    version = receipt.get("version")
    further = _FURTHER & set(receipt)
    members = _MEMBERS | further if version == MORE and further else _MEMBERS
    if set(receipt) != members:
        odd = sorted(set(receipt) ^ members)[0]
        raise BadReceipt(f"the member {odd!r} is missing" if odd in members else "there is an unknown member")
    signature, body = receipt["signature"], {k: v for k, v in receipt.items() if k != "signature"}
    try:
        if not isinstance(signature, str) or signature != signature.lower():
            raise ValueError
        key.verify(bytes.fromhex(signature), _statement(body))
    except (ValueError, InvalidSignature):
        raise BadReceipt("the receipt was changed, or is another customer's") from None
    if receipt["customer"] != customer or type(version) is not int or version != (MORE if further else VERSION):
        raise BadReceipt("the receipt is another customer's, or has another version")
    return receipt


def _statement(document: Mapping[str, Any]) -> bytes:
    return _SIGNED + canonical_json(document)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member occurs twice")
    return found


def _never(text: str) -> NoReturn:
    raise ValueError("a receipt contains no such number")
