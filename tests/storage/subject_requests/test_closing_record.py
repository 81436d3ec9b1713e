"""The record of a closed request says what was done, names nobody, and cannot be changed."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from storage.erasure.receipts import BadReceipt
from storage.subject_requests import closing_record
from storage.subject_requests.case_rows import State
from tests.storage.subject_requests.test_case_rows import T0, case

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
REPORT = {
    "export": "e",
    "asked_at": "2026-03-01T12:00:00.000000Z",
    "calls": ["a"],
    "sha256": "00" * 32,
    "problem": None,
    "fetched": [{"at": "2026-03-02T12:00:00.000000Z", "by": "paula"}],
}


def record(keys):
    noted = {"reports": [{**REPORT, "export": "failed", "sha256": None}, REPORT]}
    closed = case(keys, state=State.DONE, closed_at=T0, closed_by="paula", erasure="x", noted=noted)
    return closing_record.sign(KEY, "acme", closed)


def test_whatever_is_changed_is_noticed(keys):
    made = record(keys)
    for name in made:
        changed = {**made, name: "00" * 64 if name == "signature" else [made[name]]}
        with pytest.raises(BadReceipt):
            closing_record.verify(changed, "acme", KEY.public_key())
        with pytest.raises(BadReceipt):
            closing_record.verify({k: v for k, v in made.items() if k != name}, "acme", KEY.public_key())


def test_another_customers_record_is_none(keys):
    other = Ed25519PrivateKey.generate().public_key()
    for customer, key in (("beta", KEY.public_key()), ("acme", other)):
        with pytest.raises(BadReceipt):
            closing_record.verify(record(keys), customer, key)
