"""The whole: what lies outside customers, what every answer has in common, what a bug looks like."""

import asyncio
import logging

import httpx2

from admin_api.assembly.app import create_app


def test_every_answer_has_the_same_protection(service):
    paths = ["/healthz", "/nope", "/openapi.json", "/api/v1/customers/acme/calls"]
    for answer in map(service.client.get, paths):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "server" not in answer.headers


def test_unknown_paths_and_methods_outside_customers(service):
    assert service.client.get("/nope").json()["status"] == 404
    answer = service.client.post("/healthz")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    assert answer.headers["content-type"] == "application/problem+json"
    for method in ("PUT", "DELETE", "POST", "PATCH"):
        answer = service.client.request(method, "/")
        assert (answer.status_code, answer.headers["content-type"]) == (405, "application/problem+json")
        assert sorted(answer.headers["allow"].split(", ")) == ["GET", "HEAD"]
    for path in ("/docs", "/redoc", "/healthz/", "/apix"):
        assert service.client.get(path).status_code == 404


def test_no_error_repeats_what_was_sent(service):
    for path in ("/Qz7", "/api/Qz7", "/api/v1/customers/Qz7/calls"):
        assert "Qz7" not in service.client.get(path).text
    for path in ("/Qz7", "/calls/Qz7", "/calls?Qz7=1", "/calls?limit=Qz7", "/calls?cursor=Qz7", "/audit?since=Qz7"):
        for role in ("admin", "auditor"):
            answer = service.ask(path, role)
            assert answer.status_code in (403, 404, 422)
            assert "Qz7" not in answer.text
            assert not any("Qz7" in value for value in answer.headers.values())


def test_a_bug_is_answered_without_its_text(service, monkeypatch):
    async def broken(id):
        raise KeyError("+4930123456")

    monkeypatch.setattr(service.customers["acme"].calls, "get", broken)
    answer = service.ask(f"/calls/{service.ids['acme'][0]}")
    assert answer.status_code == 500
    assert "4930123456" not in answer.text
    assert [type(fault) for fault in service.faults] == [KeyError]
    service.faults.clear()


def test_without_a_reporter_failures_go_to_the_logger(service, caplog):
    app = create_app(service.customers, None, account_service=service.accounts)  # type: ignore[arg-type]  # no daemon

    async def ask():
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="https://x") as client:
            return await client.get("/readyz")  # which asks a daemon that is none

    with caplog.at_level(logging.ERROR):
        assert asyncio.run(ask()).status_code == 500
    assert [(record.name, record.msg) for record in caplog.records] == [("admin_api", "admin_api.fault")]
