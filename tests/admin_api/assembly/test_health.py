"""What monitoring asks, without a token."""


def test_alive_ready_and_figures(service):
    assert service.client.get("/healthz").status_code == 200
    assert service.client.get("/readyz").json() == {"status": "ready"}
    figures = service.client.get("/metrics")
    assert figures.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert figures.text == "recorder_calls_active 0\n"


def test_customers_who_are_not_served_are_counted_and_not_named(service, monkeypatch):
    monkeypatch.setattr(type(service.customers["acme"]), "served", property(lambda one: one.name != "acme"))
    answer = service.client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "customers_away": 1})


def test_not_ready_says_why_while_alive(service):
    service.daemon.why = "The disk is full."
    answer = service.client.get("/readyz")
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == "The disk is full."
    assert service.client.get("/healthz").status_code == 200


def test_head_works_for_probes(service):
    assert service.client.head("/healthz").status_code == 200
