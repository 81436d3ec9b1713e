"""Microsoft Graph as it is, and as it is on a bad day: every page is read, nothing is believed that should not be."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from recorder.directory import token
from recorder.directory.client import MAX_ASKED, TRIES, UNREACHABLE, GraphClient
from recorder.directory.delta import Cloud, Page, TooOld
from recorder.directory.token import Credential
from recorder.errors import NotPossible, WrongUse
from storage.directory.user import Change
from tests.in_process.certificates import application
from tests.recorder.entra import CLIENT, PAGE, SECRET, TENANT, Entra, serving


@dataclass
class Tenant:
    """A directory, and what one does to read it."""

    entra: Entra
    authority: Path
    waited: list[float] = field(default_factory=list)
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    async def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.now += timedelta(seconds=seconds)

    def client(self, credential: Credential | None = None, client: str = CLIENT, tenant: str = TENANT) -> GraphClient:
        cloud = Cloud(self.entra.address, self.entra.address)
        known = credential or Credential(secret=SECRET)
        return GraphClient(
            cloud, tenant, client, known, proxy_ca=self.authority, now=lambda: self.now, sleep=self.sleep
        )

    def read(self, link: str | None = None, credential: Credential | None = None, **more: str) -> list[Page]:
        async def run() -> list[Page]:
            async with self.client(credential, **more) as graph:
                return [page async for page in graph.pages(link)]

        return asyncio.run(run())


@pytest.fixture
def tenant(tmp_path: Path) -> Iterator[Tenant]:
    entra = Entra()
    with serving(entra, tmp_path) as authority:
        yield Tenant(entra, authority)


def named(pages: list[Page]) -> dict[str, Change]:
    return {change.object_id: change for page in pages for change in page.changes}


def test_all_pages_are_read_and_the_members_are_ours(tenant: Tenant) -> None:
    for number in range(2 * PAGE + 1):
        tenant.entra.put(f"id-{number}", givenName=f"Mira{number}")
    tenant.entra.put(
        "id-0",
        surname="Okafor",
        mail="mira@x.example",
        userPrincipalName="mira@x.example",
        mailNickname="mira",
        businessPhones=["+49 30 1", "+49 30 2"],
        mobilePhone="+49 170 3",
        proxyAddresses=["SMTP:mira@x.example", "smtp:old@x.example", "sip:mira@x.example", "X500:/o=x", "EUM:1;p=q"],
    )
    pages = tenant.read()
    asked = tenant.entra.asked[-1]
    assert "$select=givenName,surname,onPremisesSamAccountName," in tenant.entra.asked[1] and "jobTitle" not in asked
    assert len(pages) == 3 and [page.delta is None for page in pages] == [True, True, False]
    found = named(pages)
    assert len(found) == 2 * PAGE + 1
    person = found["id-0"].over(None)
    assert (person.first_name, person.last_name, person.account_name) == ("Mira0", "Okafor", "mira")
    assert person.numbers == ("+49 30 1", "+49 30 2", "+49 170 3")
    assert person.addresses == ("mira@x.example", "old@x.example", "sip:mira@x.example")
    assert found["id-1"].over(None).email == ""
    tenant.entra.put("a", givenName=7, mail={"x": 1}, businessPhones="+491", proxyAddresses=[None, 3, "plain@x"])
    odd = named(tenant.read())["a"].over(None)  # members of other kinds are empty
    assert (odd.first_name, odd.email, odd.numbers, odd.addresses) == ("", "", ("+491",), ("plain@x",))


def test_a_partial_change_keeps_the_other_fields(tenant: Tenant) -> None:
    tenant.entra.put("a", givenName="Mira", surname="Okafor", businessPhones=["1"], mobilePhone="2")
    first = tenant.read()
    tenant.entra.partial = True
    tenant.entra.put("a", surname="Lind")
    change = named(tenant.read(first[-1].delta))["a"]
    assert dict(change.members) == {"last_name": "Lind"}
    tenant.entra.put("a", mobilePhone="3")
    change = named(tenant.read(first[-1].delta))["a"]
    assert change.members["numbers"] == ("1", "3") and change.members["first_name"] == "Mira"


def test_a_user_deleted_during_the_read_is_gone(tenant: Tenant) -> None:
    tenant.entra.put("a/b", givenName="Mira", mobilePhone="2")
    first = tenant.read()
    tenant.entra.partial = True
    tenant.entra.put("a/b", mobilePhone="3")
    real = tenant.entra.read

    def read(link: str, token: str) -> tuple[int, object]:
        tenant.entra.users = {} if "/delta" not in link else tenant.entra.users
        return real(link, token)

    tenant.entra.read = read  # type: ignore[method-assign]  # between page and question
    assert named(tenant.read(first[-1].delta))["a/b"].gone


@pytest.mark.parametrize("status", [429, 503, 504])
def test_where_it_asks_for_patience_it_gets_it(tenant: Tenant, status: int) -> None:
    tenant.entra.put("a", givenName="Mira")
    at = format_datetime(tenant.now + timedelta(seconds=40), usegmt=True)
    tenant.entra.later = [(status, "17"), (status, at), (status, "soon"), (status, "")]
    assert list(named(tenant.read())) == ["a"]
    assert tenant.waited[0] == 17.0 and 20.0 < tenant.waited[1] < 24.0 and tenant.waited[2:] == [8.0, 16.0]


@pytest.mark.parametrize(("asked", "waited"), [("999999999", [MAX_ASKED]), ("1", [1.0] * TRIES)])
def test_patience_ends(tenant: Tenant, asked: str, waited: list[float]) -> None:
    tenant.entra.later = [(429, asked)] * 100
    with pytest.raises(NotPossible, match="too long a wait"):
        tenant.read()
    assert tenant.waited == waited


def test_a_directory_that_is_away_is_asked_a_few_times(tenant: Tenant) -> None:
    tenant.entra.address = "https://127.0.0.1:9"
    with pytest.raises(NotPossible, match="does not answer"):
        tenant.read()
    assert len(tenant.waited) == UNREACHABLE - 1 < TRIES


def test_a_peer_with_another_certificate_gets_no_request(tenant: Tenant, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with serving(Entra(), tmp_path / "other") as stranger:
        tenant.authority = stranger
        with pytest.raises(NotPossible, match="does not answer"):
            tenant.read()
    assert tenant.entra.asked == []


def test_a_token_that_ends_meanwhile_is_renewed(tenant: Tenant) -> None:
    tenant.entra.put("a", givenName="Mira")

    async def run() -> None:
        async with tenant.client() as graph:
            await graph.check()
            tenant.entra.token += 1  # what was given is good no more
            await graph.check()
            tenant.now += timedelta(hours=1)
            await graph.check()
            tenant.entra.later = [(410, "")]
            with pytest.raises(NotPossible):
                await graph.check()

    asyncio.run(run())
    assert tenant.entra.token == 4
    assert sum("/token" in path for path in tenant.entra.asked) == 3


@pytest.mark.parametrize(
    ("credential", "more", "words"),
    [
        (None, {}, "User.Read.All"),
        (Credential(secret="wrong"), {}, "secret is wrong"),
        (None, {"client": TENANT}, "no such application"),
        (None, {"tenant": CLIENT}, "no such tenant"),
    ],
)
def test_a_refused_sign_in_or_read_is_explained(
    tenant: Tenant, credential: Credential | None, more: dict[str, str], words: str
) -> None:
    tenant.entra.permitted = bool(credential or more)
    with pytest.raises(NotPossible) as caught:
        tenant.read(None, credential, **more)
    assert words in caught.value.sentence() and "Mira" not in caught.value.sentence()


def test_a_certificate_signs_the_application_in(tenant: Tenant) -> None:
    both, public = application()
    tenant.entra.certificate = public
    tenant.entra.put("a")
    assert list(named(tenant.read(None, token.from_certificate(both)))) == ["a"]
    other, _ = application()
    with pytest.raises(NotPossible, match="does not know the certificate"):
        tenant.read(None, token.from_certificate(other))


def test_a_certificate_without_its_key_is_refused() -> None:
    one, public = application()
    other, _ = application()
    crossed = public + other.partition(b"-----BEGIN PRIVATE KEY-----")[2].join((b"-----BEGIN PRIVATE KEY-----", b""))
    for wrong in (b"", b"nonsense", public, crossed, one.partition(b"-----BEGIN PRIVATE KEY-----")[0]):
        with pytest.raises(WrongUse):
            token.from_certificate(wrong)
    with pytest.raises(WrongUse):
        token.from_secret("geheim-ü".encode(), None)


@pytest.mark.parametrize("codes", [[[1]], [{}], {"1": 2}, 7, [True]])
def test_a_refusal_of_another_kind_is_no_fault(codes: object) -> None:
    assert "AADSTS" not in token.login_refused({"error_codes": codes}).sentence()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Mira</html>",
        b"[]",
        b'{"value": 1}',
        b'{"value": []}',
        b'{"value": [1], "@odata.deltaLink": "x"}',
        b'{"value": [{"id": " "}], "@odata.deltaLink": "x"}',
        b'{"value": [], "@odata.deltaLink": "x", "@odata.nextLink": "y"}',
        b'{"value": [], "@odata.nextLink": 7}',
        b'{"value": [], "@odata.nextLink": "https://evil.example/v1.0/users/delta"}',
        b'{"value": [], "@odata.nextLink": "http://127.0.0.1/v1.0/users/delta"}',
        b'{"value": [], "@odata.nextLink": "https://[evil/v1.0/users/delta"}',
        b"[" * 100_000,
    ],
)
def test_an_invalid_page_is_refused_without_its_data(tenant: Tenant, body: bytes) -> None:
    tenant.entra.answers["/v1.0/users/delta"] = body
    with pytest.raises(NotPossible) as caught:
        tenant.read()
    assert "Mira" not in str(caught.value)


def test_links_that_lead_in_a_circle_end(tenant: Tenant) -> None:
    here = f"{tenant.entra.address}/v1.0/users/delta?$skiptoken=1"
    tenant.entra.answers["/v1.0/users/delta"] = b'{"value": [], "@odata.nextLink": "%s"}' % here.encode()
    with pytest.raises(NotPossible, match="not a page of users"):
        tenant.read()
    assert sum("/delta" in path for path in tenant.entra.asked) == 2


def test_delta_is_written_in_two_ways(tenant: Tenant) -> None:
    here = f"{tenant.entra.address}/v1.0/users/microsoft.graph.delta()?$deltatoken=1"
    tenant.entra.answers["/v1.0/users/microsoft.graph.delta()"] = (
        b'{"value": [{"id": "a"}], "@odata.deltaLink": "%s"}' % here.encode()
    )
    assert [change.object_id for page in tenant.read(here) for change in page.changes] == ["a"]


@pytest.mark.parametrize("link", ["x", "https://graph.microsoft.us/v1.0/users/delta?$deltatoken=1"])
def test_a_link_of_another_cloud_means_everything_anew(tenant: Tenant, link: str) -> None:
    with pytest.raises(TooOld):
        tenant.read(link)
    assert tenant.entra.asked == []


@pytest.mark.parametrize("status", [400, 404, 410])
def test_only_a_link_of_before_may_be_unknown(tenant: Tenant, status: int) -> None:
    tenant.entra.statuses["token"] = status
    with pytest.raises(TooOld):
        tenant.read(f"{tenant.entra.address}/v1.0/users/delta?$deltatoken=1")
    for number in range(PAGE + 1):
        tenant.entra.put(f"id-{number}")
    with pytest.raises(NotPossible, match=f"answered {status}|demands a full synchronisation"):
        tenant.read()
