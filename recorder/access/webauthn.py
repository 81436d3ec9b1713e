"""Passkeys (WebAuthn level 3) with the library fido2; nothing is stored here.

`origin` is the page's as the browser sees it, such as https://rec.example:8443; its host is the relying party.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from admin_api.access.accounts_port import Challenge, Declined
from storage.access.account import MAX_PASSKEYS, Account, Passkey

if TYPE_CHECKING:
    from fido2.server import Fido2Server
    from fido2.webauthn import AttestedCredentialData

MAX_ANSWER = 64 << 10  # characters; an answer has some hundreds, with attestation some thousands
MAX_LABEL = 64
NOT_TAKEN = "passkey-refused"


def ask_new(account: Account, origin: str) -> Challenge:
    """Ask a browser for a new passkey that none of the account's authenticators has yet."""
    from fido2.webauthn import PublicKeyCredentialUserEntity

    user = PublicKeyCredentialUserEntity(id=account.id.encode(), name=account.name, display_name=account.name)
    options, state = _server(origin).register_begin(user, _stored(account.passkeys))
    return Challenge(_options(dict(options)), state)


def new(account: Account, origin: str, state: Any, answer: str, label: str, now: datetime) -> Passkey:
    """Check a new passkey; raises Declined."""
    if len(account.passkeys) >= MAX_PASSKEYS:
        raise Declined("too-many-passkeys")
    try:
        made = _server(origin).register_complete(state, _answer(answer))
        found = made.credential_data
    except Exception:
        raise Declined(NOT_TAKEN) from None  # the library raises any error of its parsers
    if found is None:
        raise Declined(NOT_TAKEN)
    named = " ".join(label.split())[:MAX_LABEL]
    return Passkey(found.credential_id.hex(), bytes(found).hex(), named, now, made.counter)


def ask(account: Account, origin: str) -> Challenge:
    """Request one of the account's passkeys."""
    options, state = _server(origin).authenticate_begin(_stored(account.passkeys))
    return Challenge(_options(dict(options)), state)


def used(account: Account, origin: str, state: Any, answer: str) -> Passkey | None:
    """Check the response: return the passkey with its current counter, None if anything is wrong.

    A counter that does not increase means that the authenticator was copied (WebAuthn section 6.1.1).
    """
    try:
        said = _answer(answer)
        found = _server(origin).authenticate_complete(state, _stored(account.passkeys), said)
        count = _count(said)
    except Exception:  # the library raises any error of its parsers
        return None
    key = next(each for each in account.passkeys if each.id == found.credential_id.hex())
    if (count or key.count) and count <= key.count:
        return None
    return replace(key, count=count)


def _server(origin: str) -> Fido2Server:
    from fido2.server import Fido2Server  # 50 ms that only a user with a passkey pays
    from fido2.webauthn import PublicKeyCredentialRpEntity

    host = urlsplit(origin).hostname or ""
    return Fido2Server(PublicKeyCredentialRpEntity(id=host, name="Recorder"), verify_origin=lambda said: said == origin)


def _stored(keys: Sequence[Passkey]) -> list[AttestedCredentialData]:
    from fido2.webauthn import AttestedCredentialData

    return [AttestedCredentialData(bytes.fromhex(key.data)) for key in keys]


def _answer(text: str) -> Mapping[str, Any]:
    found = json.loads(text[:MAX_ANSWER])
    if not isinstance(found, dict):
        raise ValueError("the answer must be an object")
    return found


def _count(answer: Mapping[str, Any]) -> int:
    from fido2.webauthn import AuthenticationResponse

    return AuthenticationResponse.from_dict(answer).response.authenticator_data.counter


def _options(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the options as JSON encodes them (WebAuthn section 5.1.9: base64url for bytes)."""
    found: Mapping[str, Any] = json.loads(json.dumps(options, default=_plain))
    return found


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)
