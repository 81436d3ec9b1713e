"""Turn what Microsoft Graph says about users, pages of `users/delta`, into changes; pure.

Sources: "user: delta" and "Use delta query to track changes in Microsoft Graph data" of the Graph documentation. For
each user a page has the members that changed; an absent member is unchanged. `@removed` says that the user is gone, for
good ("deleted") or for the 30 days of the recycle bin ("changed"). The last page has the link for the next
synchronisation. The same user may come several times; the last entry counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from recorder.errors import NotPossible
from storage.directory.user import Change

SELECT = (
    "givenName",
    "surname",
    "onPremisesSamAccountName",
    "mailNickname",
    "mail",
    "userPrincipalName",
    "businessPhones",
    "mobilePhone",
    "proxyAddresses",
)
"""The members that are asked for, and no others (GDPR Art. 5(1)(c))."""

SINGLE = {"givenName": "first_name", "surname": "last_name", "mail": "email", "userPrincipalName": "upn"}
MAX_VALUE = 2000
"""Characters of one value; the longest e-mail address has 254."""
MAX_VALUES = 500
"""Values of one member: Entra allows a user some hundred proxy addresses."""


class TooOld(NotPossible):
    """The link of the last synchronisation has expired: everything has to be fetched again (410)."""

    def __init__(self) -> None:
        """Create the error for the case that not even a full synchronisation is possible."""
        super().__init__("The directory demands a full synchronisation again.", "The next synchronisation tries again.")


@dataclass(frozen=True, slots=True)
class Cloud:
    """The addresses of a national cloud."""

    login: str
    graph: str


CLOUDS: Mapping[str, Cloud] = {
    "global": Cloud("https://login.microsoftonline.com", "https://graph.microsoft.com"),
    "us": Cloud("https://login.microsoftonline.us", "https://graph.microsoft.us"),
    "us-dod": Cloud("https://login.microsoftonline.us", "https://dod-graph.microsoft.us"),
    "china": Cloud("https://login.partner.microsoftonline.cn", "https://microsoftgraph.chinacloudapi.cn"),
}
"""National clouds ("Microsoft Graph national cloud deployments")."""


PAIRS = (("onPremisesSamAccountName", "mailNickname"), ("businessPhones", "mobilePhone"))
"""Members that form one of ours together: a user with only one of them must be fetched whole."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of changes."""

    changes: tuple[Change, ...]
    ask: tuple[str, ...]  # ids of users who must be fetched whole
    next: str | None  # link of the next page
    delta: str | None  # link of the next synchronisation, on the last page


def first_link(cloud: Cloud) -> str:
    """Return the link that a full synchronisation begins with."""
    return f"{cloud.graph}/v1.0/users/delta?" + urlencode({"$select": ",".join(SELECT)}, safe="$,")


def own_link(cloud: Cloud, link: str) -> bool:
    """Return whether a link leads to this cloud: our token must go nowhere else."""
    try:
        ours, theirs = urlsplit(cloud.graph), urlsplit(link)
    except ValueError:
        return False
    delta = "/users/" in theirs.path and "delta" in theirs.path.rpartition("/")[2]  # or microsoft.graph.delta()
    return (ours.scheme, ours.netloc) == (theirs.scheme, theirs.netloc) and delta


def user_link(cloud: Cloud, id: str) -> str:
    """Return the link of one user."""
    return f"{cloud.graph}/v1.0/users/{quote(id, safe='')}?" + urlencode({"$select": ",".join(SELECT)}, safe="$,")


def page(document: object, *, whole: bool) -> Page:
    """Read a page; raises NotPossible.

    `whole`: the page belongs to a full synchronisation, in which an absent member is empty.
    """
    if not isinstance(document, dict) or not isinstance(document.get("value"), list):
        raise unlike()
    following, delta = (_link(document.get(f"@odata.{kind}Link")) for kind in ("next", "delta"))
    if (following is None) == (delta is None):
        raise unlike()
    changes = tuple(user(entry, whole=whole) for entry in document["value"])
    ask = () if whole else tuple(entry["id"] for entry in document["value"] if _halved(entry))
    return Page(changes, ask, following, delta)


def known_by(page: Page) -> dict[str, int]:
    """Count the identities that the users of a page have: calls name people only by these."""
    people = [change.over(None) for change in page.changes if not change.gone]
    return {
        "users": len(people),
        "numbers": sum(bool(person.numbers) for person in people),
        "sip": sum(any(address.lower().startswith("sip:") for address in person.addresses) for person in people),
        "mail": sum(bool(person.email or person.upn) for person in people),
    }


def merged(changes: Iterable[Change]) -> dict[str, Change]:
    """Return one change for each user: members of later changes replace those of earlier ones."""
    found: dict[str, Change] = {}
    for change in changes:
        before = found.get(change.object_id)
        if before is not None and not before.gone and not change.gone:
            change = Change(change.object_id, {**before.members, **change.members})
        found[change.object_id] = change
    return found


def unlike() -> NotPossible:
    """Return the error for an answer that Graph would never give."""
    return NotPossible("The directory's answer is not a page of users.", "Is there a proxy in between?")


def _link(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise unlike()
    return value


def user(entry: object, *, whole: bool) -> Change:
    """Read one user; `whole`: an absent member is empty, not unchanged. Raises NotPossible."""
    if not isinstance(entry, dict):
        raise unlike()
    id = entry.get("id")
    if not isinstance(id, str) or not id.strip():
        raise unlike()
    if "@removed" in entry:
        return Change(id, {}, gone=True)
    return Change(id, _members({**dict.fromkeys(SELECT), **entry} if whole else entry))


def _halved(entry: Mapping[str, Any]) -> bool:
    return "@removed" not in entry and any((one in entry) != (other in entry) for one, other in PAIRS)


def _members(entry: Mapping[str, Any]) -> dict[str, str | tuple[str, ...]]:
    """Return the members that the entry has, under our names; null means empty."""
    found: dict[str, str | tuple[str, ...]] = {
        ours: _text(entry[name]) for name, ours in SINGLE.items() if name in entry
    }
    if "onPremisesSamAccountName" in entry:
        found["account_name"] = _text(entry["onPremisesSamAccountName"]) or _text(entry.get("mailNickname"))
    if "businessPhones" in entry:
        found["numbers"] = tuple(dict.fromkeys((*_texts(entry["businessPhones"]), *_texts(entry.get("mobilePhone")))))
    if "proxyAddresses" in entry:
        found["addresses"] = tuple(filter(None, map(_address, _texts(entry["proxyAddresses"]))))
    return found


def _text(value: object) -> str:
    return value.strip()[:MAX_VALUE] if isinstance(value, str) else ""


def _texts(value: object) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    return tuple(dict.fromkeys(text for text in map(_text, values[:MAX_VALUES]) if text))


def _address(proxy: str) -> str:
    """Return a mail address bare and a SIP address with its scheme, "" for other kinds (X500, EUM)."""
    kind, colon, rest = proxy.partition(":")
    if not colon:
        return proxy
    return {"smtp": rest, "sip": f"sip:{rest}"}.get(kind.casefold(), "")
