"""Passkeys judged with an authenticator of the tests' own: keys made, keys used, and each way to cheat."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from fido2 import cbor
from fido2.cose import ES256

from admin_api.access.accounts_port import Declined
from recorder.access import webauthn
from storage.access.account import MAX_PASSKEYS, Account, Passkey

NOW = datetime(2026, 5, 4, tzinfo=UTC)
ORIGIN = "https://rec.example:8443"
ANNA = Account("a" * 16, "anna", ("admin",), NOW)


def web(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Authenticator:
    """Does what an honest browser and security key do, unless it is told otherwise."""

    def __init__(self, host: str = "rec.example") -> None:
        self.host, self.count = host, 0
        self.id = b"credential-one--"
        self.key = ec.generate_private_key(ec.SECP256R1())

    def make(self, options: Any, **lies: Any) -> str:
        """Answer navigator.credentials.create."""
        public = cbor.encode(dict(ES256.from_cryptography_key(self.key.public_key())))
        attested = bytes(16) + struct.pack(">H", len(self.id)) + self.id + public
        data = self._data(0x41, **lies) + attested
        client = self._client("webauthn.create", options, **lies)
        made = cbor.encode({"fmt": "none", "attStmt": {}, "authData": data})
        return self._answer({"clientDataJSON": web(client), "attestationObject": web(made)})

    def use(self, options: Any, **lies: Any) -> str:
        """Answer navigator.credentials.get."""
        self.count += 1
        data, client = self._data(0x01, **lies), self._client("webauthn.get", options, **lies)
        signature = self.key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        return self._answer(
            {
                "clientDataJSON": web(client),
                "authenticatorData": web(data),
                "signature": web(lies.get("signature", signature)),
            }
        )

    def _data(self, usual: int, **lies: Any) -> bytes:
        host = hashlib.sha256(lies.get("host", self.host).encode()).digest()
        return host + struct.pack(">BI", lies.get("flags", usual), lies.get("count", self.count))

    def _client(self, kind: str, options: Any, **lies: Any) -> bytes:
        said = {
            "type": lies.get("type", kind),
            "challenge": lies.get("challenge", options["publicKey"]["challenge"]),
            "origin": lies.get("origin", ORIGIN),
        }
        return json.dumps(said).encode()

    def _answer(self, response: dict[str, str]) -> str:
        whole = {"id": web(self.id), "rawId": web(self.id), "type": "public-key", "response": response}
        return json.dumps({**whole, "clientExtensionResults": {}})


def enrolled(device: Authenticator, account: Account = ANNA) -> Account:
    asked = webauthn.ask_new(account, ORIGIN)
    key = webauthn.new(account, ORIGIN, asked.state, device.make(asked.options), " my  laptop ", NOW)
    return replace(account, passkeys=(*account.passkeys, key))


def proved(account: Account, device: Authenticator, **lies: Any) -> Passkey | None:
    """Ask a device to prove itself, and judge its answer."""
    asked = webauthn.ask(account, ORIGIN)
    return webauthn.used(account, ORIGIN, asked.state, device.use(asked.options, **lies))


def test_a_passkey_is_put_on_file_and_used() -> None:
    device = Authenticator()
    anna = enrolled(device)
    (key,) = anna.passkeys
    assert (key.id, key.label, key.created_at, key.count) == (device.id.hex(), "my laptop", NOW, 0)
    asked = webauthn.ask(anna, ORIGIN)
    assert [each["id"] for each in asked.options["publicKey"]["allowCredentials"]] == [web(device.id)]
    assert proved(anna, device) == replace(key, count=1)
    options = webauthn.ask_new(anna, ORIGIN).options["publicKey"]
    assert [each["id"] for each in options["excludeCredentials"]] == [web(b"credential-one--")]
    assert (options["rp"]["id"], options["user"]["name"]) == ("rec.example", "anna")


CHEATS = [
    {"origin": "https://evil.example"},
    {"origin": "https://rec.example"},
    {"origin": "http://rec.example:8443"},
    {"host": "evil.example"},
    {"challenge": web(bytes(32))},
    {"type": "webauthn.other"},
]


@pytest.mark.parametrize("lies", [*CHEATS, {"flags": 0x40}])  # the last: nobody touched it
def test_a_new_passkey_of_another_place_is_not_taken(lies: dict[str, Any]) -> None:
    asked = webauthn.ask_new(ANNA, ORIGIN)
    with pytest.raises(Declined):
        webauthn.new(ANNA, ORIGIN, asked.state, Authenticator().make(asked.options, **lies), "x", NOW)


@pytest.mark.parametrize("lies", [*CHEATS, {"flags": 0}, {"signature": b"0" * 70}])
def test_an_answer_of_another_place_is_not_taken(lies: dict[str, Any]) -> None:
    device = Authenticator()
    assert proved(enrolled(device), device, **lies) is None


def test_an_answer_answers_one_question() -> None:
    device = Authenticator()
    anna = enrolled(device)
    asked, other = webauthn.ask(anna, ORIGIN), webauthn.ask(anna, ORIGIN)
    answer = device.use(asked.options)
    assert webauthn.used(anna, ORIGIN, other.state, answer) is None
    assert webauthn.used(anna, ORIGIN, asked.state, answer)


def test_another_device_does_not_answer_for_this_one() -> None:
    anna, thief = enrolled(Authenticator()), Authenticator()
    assert proved(anna, thief) is None
    thief.id = b"credential-two--"
    assert proved(anna, thief) is None


def test_a_copy_shows_by_its_counter_unless_there_is_none() -> None:
    device = Authenticator()
    anna = enrolled(device)
    for _ in range(3):  # a device without a counter is taken again and again
        used = proved(anna, device, count=0)
        assert used and used.count == 0
    device.count = 7
    used = proved(anna, device)
    assert used and used.count == 8
    anna = replace(anna, passkeys=(used,))
    assert [proved(anna, device, count=count) for count in (0, 7, 8)] == [None] * 3


@pytest.mark.parametrize("answer", ["", "{", "[]", "null", "7", '{"id": 1}', "[" * 9999, "\x00", '{"response": {}}'])
def test_an_invalid_passkey_response_is_refused(answer: str) -> None:
    anna = enrolled(Authenticator())
    asked = webauthn.ask(anna, ORIGIN)
    assert webauthn.used(anna, ORIGIN, asked.state, answer) is None
    with pytest.raises(Declined):
        webauthn.new(ANNA, ORIGIN, webauthn.ask_new(ANNA, ORIGIN).state, answer, "x", NOW)


def test_every_truncated_answer_is_refused() -> None:
    device = Authenticator()
    anna = enrolled(device)
    asked = webauthn.ask(anna, ORIGIN)
    answer = device.use(asked.options)
    assert all(webauthn.used(anna, ORIGIN, asked.state, answer[:length]) is None for length in range(len(answer)))


def test_a_limit_of_passkeys() -> None:
    key = Passkey("aa", "bb", "x", NOW)
    full = replace(ANNA, passkeys=(key,) * MAX_PASSKEYS)
    with pytest.raises(Declined, match="too-many-passkeys"):
        webauthn.new(full, ORIGIN, {}, "{}", "x", NOW)
