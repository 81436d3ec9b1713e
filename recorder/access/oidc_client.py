"""OpenID providers: contacted when somebody signs in through one, never at the start of the daemon.

Their documents are cached for an hour, their keys for a quarter of an hour, or until a token names an unknown key. An
unavailable provider does not affect local accounts.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx2

from admin_api.access.accounts_port import NotVouched, Person, ProviderAway, ProviderLogin
from recorder.access import oidc_protocol as rules
from recorder.access.oidc_protocol import LoginAttempt, Places
from recorder.config.model import SignIn
from recorder.runtime.secret_refs import secret_of
from storage.access.actor import alike
from storage.customer.customers import Customer

TIMEOUT = 10.0
"""Seconds for one answer: somebody is waiting at the page."""
MAX_ANSWER = 1 << 20
"""Bytes; discovery documents have some 5,000, key sets as many."""
KEPT = 3600.0
"""Seconds that a discovery document is valid."""
KEYS_KEPT = 900.0
"""Seconds that keys are valid: a stolen key that was withdrawn signs nobody in for longer."""
KEYS_AGAIN = 10.0
"""Seconds before keys are fetched again for a token with an unknown key: anybody can make such tokens."""
MAX_KEYS = 100


@dataclass(slots=True)
class _Known:
    """What is cached of one provider."""

    places: Places | None = None
    until: float = 0.0
    keys: Sequence[Mapping[str, Any]] = field(default=(), repr=False)
    keys_at: float = float("-inf")


class Providers:
    """The providers of all customers (admin_api.access.accounts_port.Providers)."""

    def __init__(
        self,
        sign_ins: Sequence[SignIn],
        customers: Mapping[str, Customer],
        *,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sign_ins = sign_ins
        self._customers = customers
        self._now = now
        self._monotonic = monotonic
        self._known = {sign_in.issuer: _Known() for sign_in in sign_ins}

    def names(self, customer: str) -> Sequence[str]:
        """Return the names of a customer's providers for the page; the position in the list is the
        provider's number.
        """
        return [sign_in.title for sign_in in self._of(customer)]

    async def begin(self, customer: str, number: int, back: str) -> ProviderLogin:
        """Prepare a sign-in at a provider, which sends the browser to `back`; raises ProviderAway."""
        sign_in = self._of(customer)[number]
        attempt = LoginAttempt(sign_in, back, *(secrets.token_urlsafe(size) for size in (32, 32, 48)))
        return ProviderLogin(rules.leave(attempt, await self._places(sign_in)), attempt.document())

    async def finish(self, provider_login: ProviderLogin, answer: Mapping[str, str]) -> Person:
        """Check what the browser came back with; raises ProviderAway, NotVouched."""
        attempt = LoginAttempt.parse(self._sign_ins, provider_login.state)
        sign_in = attempt.sign_in
        found = await self._places(sign_in)
        tokens = await self._redeem(attempt, found, rules.code(attempt, found, answer))
        token = tokens.get("id_token")
        if not isinstance(token, str):
            raise NotVouched("token")
        keys = await self._keys(sign_in, found, rules.key_id(token))
        said = dict(rules.claims(token, keys, attempt, self._now()))
        if not {sign_in.groups_claim, sign_in.name_claim} <= set(said) and found.userinfo:
            said = {**await self._userinfo(sign_in, found, tokens, said["sub"]), **said}
        name, roles = rules.person(said, sign_in)
        customer = self._customers[sign_in.customer]
        if await asyncio.to_thread(_taken, customer, name):
            raise NotVouched("name taken")
        lasts = 60.0 * sign_in.session_minutes
        return Person(customer, name, roles, lasts=lasts, subject=rules.identity(said, sign_in))

    def _of(self, customer: str) -> list[SignIn]:
        return [each for each in self._sign_ins if each.customer == customer and customer in self._customers]

    async def _places(self, sign_in: SignIn) -> Places:
        known = self._known[sign_in.issuer]
        if known.places is None or self._monotonic() > known.until:
            link = sign_in.issuer.rstrip("/") + "/.well-known/openid-configuration"
            known.places = rules.places(await self._ask(sign_in, "GET", link), sign_in.issuer)
            known.until = self._monotonic() + KEPT
        return known.places

    async def _keys(self, sign_in: SignIn, found: Places, named: str) -> Sequence[Mapping[str, Any]]:
        """Return the provider's keys, fetched again if they are old or lack the named one."""
        known = self._known[sign_in.issuer]
        there = any(not named or key.get("kid") == named for key in known.keys)
        if self._monotonic() - known.keys_at > (KEYS_KEPT if there else KEYS_AGAIN):
            document = await self._ask(sign_in, "GET", found.keys)
            listed = document.get("keys")
            keys = listed[:MAX_KEYS] if isinstance(listed, list) else []
            known.keys = [key for key in keys if isinstance(key, dict)]
            known.keys_at = self._monotonic()
        return known.keys

    async def _redeem(self, attempt: LoginAttempt, found: Places, code: str) -> Mapping[str, Any]:
        """Exchange a code for tokens."""
        sign_in = attempt.sign_in
        secret = await asyncio.to_thread(secret_of, sign_in.client_secret) if sign_in.client_secret else ""
        fields, basic = rules.form(attempt, found, code, secret)
        return await self._ask(sign_in, "POST", found.token, data=fields, auth=basic)

    async def _userinfo(
        self, sign_in: SignIn, found: Places, tokens: Mapping[str, Any], subject: str
    ) -> Mapping[str, Any]:
        """Fetch claims that the token lacks; the answer must be about the same person (Core section 5.3.2)."""
        headers = {"Authorization": f"Bearer {tokens.get('access_token', '')}"}
        said = await self._ask(sign_in, "GET", found.userinfo, headers=headers)
        if not hmac.compare_digest(str(said.get("sub", "")).encode(), subject.encode()):
            raise NotVouched("subject")
        return said

    async def _ask(self, sign_in: SignIn, method: str, link: str, **more: Any) -> Mapping[str, Any]:
        """Fetch a document; raises ProviderAway, or NotVouched if the provider refuses what we sent."""
        try:
            trusted = await asyncio.to_thread(_trusted, sign_in)
            async with (
                httpx2.AsyncClient(timeout=TIMEOUT, verify=trusted, follow_redirects=False) as client,
                asyncio.timeout(2 * TIMEOUT),
                client.stream(method, link, **more) as answer,
            ):
                body = await _body(answer)
        except (httpx2.HTTPError, OSError, ValueError, TimeoutError):
            raise ProviderAway("network") from None
        if answer.status_code in (400, 401, 403):
            raise NotVouched("refused there")
        document: Any = None
        with suppress(ValueError, RecursionError):
            document = json.loads(body)
        if answer.status_code != 200 or not isinstance(document, dict):
            raise ProviderAway("answer")
        return document


def _taken(customer: Customer, name: str) -> bool:
    """Tell whether this name could be confused with an account or token of the customer in its audit log."""
    return customer.accounts.like(name) is not None or any(
        alike(name, each.name) for each in customer.credentials.list()
    )


async def _body(answer: httpx2.Response) -> bytes:
    body = b""
    async for piece in answer.aiter_bytes():
        body += piece
        if len(body) > MAX_ANSWER:
            raise ProviderAway("size")
    return body


def _trusted(sign_in: SignIn) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if sign_in.ca is not None:
        context.load_verify_locations(sign_in.ca)
    return context
