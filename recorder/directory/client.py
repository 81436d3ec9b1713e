"""Microsoft Graph: sign in, follow pages of changes, wait when it asks to.

    async with GraphClient(cloud, tenant, client, credential) as graph:
        async for page in graph.pages(None):        everything; with the link of the last time: changes since then

After 429, 503 and 504 a request is repeated after `Retry-After`, in seconds or as a date, or with doubling pauses
("Microsoft Graph throttling guidance"). A token that expired meanwhile is renewed once. 410 means that the link is too
old.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Self

import httpx2

from recorder.directory import delta
from recorder.directory import token as graph_login
from recorder.directory.delta import Cloud, Page, TooOld
from recorder.directory.token import Credential
from recorder.errors import NotPossible
from storage.directory.user import Change

TIMEOUT = 60.0
"""Seconds for one answer; Graph may need a while to make a page of delta."""
TRIES = 8
"""Attempts for one request before the synchronisation is given up until the next time."""
UNREACHABLE = 4
"""Attempts if nobody answers at all: 14 s, enough for a short network fault; the next synchronisation tries again."""
FIRST_PAUSE = 2.0
MAX_PAUSE = 300.0
"""Seconds; pauses double up to this if the directory names none."""
MAX_ASKED = 4 * 3600.0
"""Seconds that Retry-After may delay one request in all; more than a working morning is not accepted."""
EARLY = 300.0
"""Seconds before its expiry that a token is renewed."""
MAX_ANSWER = 64 << 20
"""Bytes of one answer; a page has a few hundred users."""
MAX_PAGES = 100_000
"""Pages of one synchronisation: no directory has as many."""
_AGAIN = frozenset({429, 502, 503, 504})
_UNKNOWN = frozenset({400, 404})
"""Statuses, besides 410, for a link from Graph that it no longer knows; then everything is fetched again."""
_TOO_OLD = frozenset({"syncstatenotfound", "resyncrequired"})


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    later: str  # Retry-After as sent
    body: bytes

    def document(self) -> Any:
        """Return the body as JSON; raises NotPossible."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise delta.unlike() from None


class GraphClient:
    """One directory."""

    def __init__(
        self,
        cloud: Cloud,
        tenant: str,
        client: str,
        credential: Credential,
        *,
        proxy_ca: Path | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`proxy_ca`: more authorities to trust, PEM, if a proxy signs certificates for Microsoft."""
        self._cloud = cloud
        self._tenant = tenant
        self._client = client
        self._credential = credential
        self._now = now
        self._sleep = sleep
        trusted = ssl.create_default_context()
        if proxy_ca is not None:
            trusted.load_verify_locations(proxy_ca)
        self._http = httpx2.AsyncClient(timeout=TIMEOUT, verify=trusted, follow_redirects=False)
        self._token = ""
        self._token_until = 0.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def pages(self, link: str | None, *, whole: bool = False) -> AsyncIterator[Page]:
        """Yield every page from a link on, or of everything; raises TooOld, NotPossible.

        `whole`: the link belongs to a synchronisation that began with everything.
        """
        whole, kept = whole or link is None, link
        following, seen = link or delta.first_link(self._cloud), set[str]()
        for _ in range(MAX_PAGES):
            if following in seen or not delta.own_link(self._cloud, following):
                raise TooOld() if following == kept and not seen else delta.unlike()  # kept from another cloud
            seen.add(following)
            page = delta.page(await self._get(following, kept=following == kept), whole=whole)
            asked = [await self._user(id) for id in page.ask]
            yield Page((*page.changes, *asked), (), page.next, page.delta)
            if page.next is None:
                return
            following = page.next
        raise delta.unlike()

    async def check(self) -> Page:
        """Check that users can be read: sign in and return one page; raises NotPossible with what is missing."""
        return delta.page(await self._get(delta.first_link(self._cloud)), whole=True)

    async def _user(self, id: str) -> Change:
        """Fetch all members of one user; a user who has been removed meanwhile is reported as gone."""
        document = await self._get(delta.user_link(self._cloud, id), missing=True)
        return Change(id, {}, gone=True) if document is None else delta.user(document, whole=True)

    async def _get(self, link: str, *, missing: bool = False, kept: bool = False) -> Any:
        """Fetch a document; None for 404 if `missing`. `kept`: the link is from an earlier run and may have expired."""
        renewed = False
        while True:
            headers = {"Authorization": f"Bearer {await self._signed_in()}", "Accept": "application/json"}
            answer = await self._with_retries("GET", link, headers=headers)
            if answer.status == 401 and not renewed:
                renewed, self._token = True, ""
                continue
            if answer.status == 200:
                return answer.document()
            if answer.status == 404 and missing:
                return None
            raise TooOld() if kept and answer.status in _UNKNOWN else _refused(answer)

    async def _signed_in(self) -> str:
        """Return a token that is valid for at least some minutes."""
        now = self._now()
        if self._token and now.timestamp() < self._token_until - EARLY:
            return self._token
        form = graph_login.token_form(self._cloud, self._tenant, self._client, self._credential, now, str(uuid.uuid4()))
        answer = await self._with_retries("POST", graph_login.token_link(self._cloud, self._tenant), data=form)
        document = answer.document()
        token = document.get("access_token") if isinstance(document, dict) else None
        if answer.status != 200 or not isinstance(token, str) or not token:
            raise graph_login.login_refused(document)
        lasts = document.get("expires_in")
        self._token = token
        self._token_until = now.timestamp() + (float(lasts) if isinstance(lasts, int | float) else 0.0)
        return token

    async def _with_retries(self, method: str, link: str, **said: Any) -> _Answer:
        """Repeat a request until the answer is not "later"; raises NotPossible."""
        pause = FIRST_PAUSE
        answer: _Answer | None = None
        unreached, waited = 0, 0.0
        for _ in range(TRIES):
            answer = None
            with suppress(httpx2.TransportError, httpx2.DecodingError):
                answer = await self._ask(method, link, said)
                if answer.status not in _AGAIN:
                    return answer
            unreached = unreached + 1 if answer is None else 0
            if unreached == UNREACHABLE:
                break
            wait = (answer and _wait(answer.later, self._now())) or pause
            wait = min(wait, MAX_ASKED - waited)
            if wait <= 0:
                break
            waited += wait
            await self._sleep(wait)
            pause = min(2 * pause, MAX_PAUSE)
        if answer is None:
            raise NotPossible("The directory does not answer.", "Is HTTPS to Microsoft's cloud open (proxy)?")
        raise NotPossible("The directory demands too long a wait.", "The next synchronisation tries again.")

    async def _ask(self, method: str, link: str, said: dict[str, Any]) -> _Answer:
        body = bytearray()
        async with self._http.stream(method, link, **said) as answer:
            async for piece in answer.aiter_bytes():
                body += piece
                if len(body) > MAX_ANSWER:
                    raise delta.unlike()
        return _Answer(answer.status_code, answer.headers.get("Retry-After", ""), bytes(body))


def _wait(said: str, now: datetime) -> float:
    """Return the seconds that a Retry-After asks for, 0 if it is unreadable."""
    seconds = 0.0
    if said.isascii() and said.isdecimal():
        seconds = float(said[:9])
    elif said:
        with suppress(ValueError, TypeError, OverflowError):
            at = parsedate_to_datetime(said)
            seconds = (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds()
    return max(seconds, 0.0)


def _refused(answer: _Answer) -> Exception:
    """Return the error for a status; the answer's own text is left out, because it may name people."""
    code = ""
    with suppress(NotPossible):
        document = answer.document()
        error = document.get("error") if isinstance(document, dict) else None
        code = str(error.get("code", "")) if isinstance(error, dict) else ""
    if answer.status == 410 or code.casefold() in _TOO_OLD:
        return TooOld()
    if answer.status in (401, 403):
        return NotPossible(
            "Entra lets the recorder sign in, but not read users.",
            "Under API permissions add Microsoft Graph, application permission User.Read.All, and grant admin consent.",
        )
    return NotPossible(f"The directory answered {answer.status}.", "The next synchronisation tries again.")
