"""The order of refusals: every role, every path, two customers."""

import secrets
from itertools import product

import pytest

from admin_api.assembly.endpoints import endpoints
from admin_api.http import authorise
from admin_api.http.permissions import Role
from storage.token_buckets import Rate
from tests.in_process.api_service import Service

ENDPOINTS = endpoints()
UNKNOWN = "00000000-0000-4000-8000-000000000000"
BODIES = ("POST", "PUT")


def send(service, endpoint, id=UNKNOWN, **more):
    if endpoint.method in BODIES:
        more["json"] = {}
    return service.ask(endpoint.path.replace("{id}", id), method=endpoint.method, **more)


def look(answer):
    return answer.status_code, answer.content, sorted((k, v) for k, v in answer.headers.items() if k != "date")


def test_each_role_may_what_the_table_says(service):
    given = {(each, role): send(service, each, role=role).status_code for each in ENDPOINTS for role in Role}
    assert {key for key, status in given.items() if status == 403} == {
        key for key in given if key[1] not in key[0].roles
    }
    assert {401, 500}.isdisjoint(given.values())


def test_another_customer_is_as_if_there_were_none(service):
    told = {}
    for endpoint, role in product(ENDPOINTS, Role):
        real = send(service, endpoint, service.ids["beta"][0], role=role, to="beta")
        none = send(service, endpoint, UNKNOWN, role=role, to="nobody")
        told[endpoint.action, role] = (real.status_code, look(real) == look(none))
    assert {key: found for key, found in told.items() if found != (404, True)} == {}


def test_without_a_valid_token_everything_is_401(service):
    answers = [
        answer
        for each in ENDPOINTS
        for answer in (
            send(service, each, service.ids["acme"][0], role=None),
            send(service, each, token=secrets.token_urlsafe(24)),
            send(service, each, token="wrong", to="nobody"),
        )
    ]
    assert {look(answer)[:2] for answer in answers} == {look(answers[0])[:2]}
    assert {(each.status_code, each.headers["www-authenticate"]) for each in answers} == {(401, "Bearer")}


def test_401_comes_before_404_405_and_422(service):
    for method, path in [("GET", "/nope"), ("PATCH", "/calls"), ("GET", "/calls?x=1"), ("BREW", "/calls")]:
        assert service.ask(path, None, method=method).status_code == 401
    for path in ("/api", "/api/", "/api/v1", "/api/v1/customers", "/api/v7/x"):
        assert service.client.get(path).status_code == 401


def test_a_role_is_refused_whether_the_object_exists_or_not(service):
    there = service.ask(f"/calls/{service.ids['acme'][0]}", Role.OPERATOR)
    missing = service.ask(f"/calls/{UNKNOWN}", Role.OPERATOR)
    assert look(there) == look(missing)
    assert there.status_code == 403


def test_paths_and_methods_that_do_not_exist(service):
    assert service.ask("/nope").status_code == 404
    answer = service.ask("/calls", method="DELETE")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    headers = {"Authorization": f"Bearer {service.tokens['acme'][Role.ADMIN]}"}
    assert service.client.get("/api/v1/other", headers=headers).status_code == 404


def test_several_roles_add_up(service):
    token = service.token([Role.AUDITOR, Role.LISTENER])
    assert service.ask("/audit", token=token).status_code == 200
    assert service.ask("/calls", token=token).status_code == 200
    assert service.ask("/incidents", token=token).status_code == 403
    assert service.acts()[-1]["role"] == "auditor,listener"


def test_refused_tries_stand_in_the_own_log_only(service):
    before = {name: len(service.acts(name)) for name in ("acme", "beta")}
    call = service.ids["beta"][0]
    service.ask(f"/calls/{service.ids['acme'][0]}", Role.OPERATOR)
    service.ask(f"/calls/{call}", Role.ADMIN, to="beta")
    service.ask("/nope")
    new = service.acts("acme")[before["acme"] :]
    assert len(service.acts("beta")) == before["beta"]
    assert [(a["action"], a["outcome"], a["object"]) for a in new] == [
        ("call.view", "refused", service.ids["acme"][0]),
        ("call.view", "refused", ""),
        ("unknown", "refused", ""),
    ]


def test_every_request_leaves_an_entry(service):
    left = {}
    for endpoint in ENDPOINTS:
        for role in (endpoint.roles[0], next(role for role in Role if role not in endpoint.roles)):
            before = len(service.acts())
            send(service, endpoint, service.ids["acme"][0], role=role)
            left[endpoint.action, role] = len(service.acts()) - before
    assert {key: count for key, count in left.items() if count != 1} == {}


def test_a_revoked_token_ends_at_once(service):
    token = service.token([Role.ADMIN], name="leaver")
    assert service.ask("/calls", token=token).status_code == 200
    service.customers["acme"].credentials.revoke("leaver")
    assert service.ask("/calls", token=token).status_code == 401


@pytest.fixture
def strict(tmp_path, monkeypatch):
    """A service that soon has enough of a token, and sooner of an address."""
    monkeypatch.setattr(authorise, "PER_TOKEN", Rate(0.001, 3.0))
    monkeypatch.setattr(authorise, "FAILURES_PER_ADDRESS", Rate(0.001, 1.0))
    made = Service(tmp_path)
    yield made
    made.close()


def test_a_token_over_its_rate_is_limited_alone(strict):
    answers = [strict.ask("/nope") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [404, 404, 404, 429]
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert strict.ask("/incidents", Role.OPERATOR).status_code == 200


def test_failures_of_an_address_are_limited_but_tokens_pass(strict):
    assert [strict.ask("/calls", None).status_code for _ in range(2)] == [401, 429]
    assert strict.ask("/calls").status_code == 200
