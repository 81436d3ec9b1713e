"""Signed records of closed requests, without personal data: what was handed over and erased, by whom and when.

    verdict = closing_record.verify(document, customer, public_key)

A record is signed like the receipt of an erasure (storage.erasure.receipts): Ed25519 over a prefix and the canonical
form of all other members. It contains the SHA-256 of the file that was handed over, so whoever has the file can prove
what it is.
"""

from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from storage.erasure.receipts import BadReceipt
from storage.json_bytes import canonical_json
from storage.subject_requests.case_rows import Case
from storage.timestamps import to_text

VERSION = 1
_SIGNED = b"siprec-recorder/1 record of a request\0"
_REPORT = (
    "export",
    "asked_at",
    "asked_by",
    "done_at",
    "media",
    "silence_others",
    "other_parties",
    "encrypted",
    "calls",
    "without_media",
    "size_bytes",
    "sha256",
    "fetched",
)
"""Members of a report that a record keeps."""


def sign(key: Ed25519PrivateKey, customer: str, case: Case) -> dict[str, Any]:
    """Return the record of a request that is being closed."""
    reports = [{name: report.get(name) for name in _REPORT} for report in case.reports if report.get("sha256")]
    document: dict[str, Any] = {
        "version": VERSION,
        "customer": customer,
        "request": case.id,
        "kind": list(case.kinds),
        "outcome": case.state.value,
        "ground": case.ground,
        "received_at": to_text(case.received_at),
        "due_at": to_text(case.due_at),
        "extension": case.extension,
        "created_at": to_text(case.created_at),
        "created_by": case.created_by,
        "closed_at": None if case.closed_at is None else to_text(case.closed_at),
        "closed_by": case.closed_by,
        "counts": {"selected": len(case.selection.inside), "left_out": len(case.selection.outside)},
        "reports": reports,
        "erasure": case.erasure,
        "public_key": key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex(),
    }
    return {**document, "signature": key.sign(_statement(document)).hex()}


def verify(document: Mapping[str, Any], customer: str, key: Ed25519PublicKey) -> None:
    """Check that this customer's key signed every member; raises BadReceipt if it did not."""
    body = {name: value for name, value in document.items() if name != "signature"}
    try:
        key.verify(bytes.fromhex(document["signature"]), _statement(body))
    except (KeyError, TypeError, ValueError, InvalidSignature):
        raise BadReceipt("the record was changed, or is another customer's") from None
    if body.get("customer") != customer or body.get("version") != VERSION:
        raise BadReceipt("the record is another customer's, or has another version")


def _statement(document: Mapping[str, Any]) -> bytes:
    return _SIGNED + canonical_json(document)
