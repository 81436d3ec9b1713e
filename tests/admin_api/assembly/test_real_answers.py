"""What is described is what is answered."""

import jsonschema_rs

from admin_api.assembly.openapi import document
from tests.admin_api.privacy.test_erasures import UNKNOWN, erase, work
from tests.admin_api.privacy.test_retention import RULE
from tests.admin_api.privacy.test_waiver import WAIVER


def fits(name, value):
    jsonschema_rs.validate({"$ref": f"#/components/schemas/{name}", "components": document()["components"]}, value)


def test_real_answers_fit(service):
    call = service.ids["acme"][0]
    fits("Waiver", service.ask("/waiver").json())
    fits("Waiver", service.ask("/waiver", method="PUT", json=WAIVER).json())
    fits("Retention", service.ask("/retention", method="PUT", json={"rules": [RULE]}).json())
    fits("RetentionPreview", service.ask("/retention/preview", method="POST").json())
    fits("Hold", service.ask(f"/calls/{call}/hold", method="PUT", json={"reason": "x"}).json())
    fits("Annotation", service.ask(f"/calls/{call}/annotations", method="POST", json={"text": "x"}).json())
    json = {"content": b"{}", "headers": {"Content-Type": "application/json"}}
    fits("Attachment", service.ask(f"/calls/{call}/attachments", method="POST", **json).json())
    shown = service.ask(f"/calls/{call}").json()
    fits("Call", shown)
    assert {"held_since", "held_by", "hold_reason"} < set(shown)
    service.ask(f"/calls/{call}/hold", method="DELETE")
    made = erase(service, calls=[UNKNOWN]).json()
    fits("Erasure", made)
    fits("ErasurePage", service.ask("/erasures").json())
    work(service)
    fits("Erasure", service.ask(f"/erasures/{made['id']}").json())
    service.daemon.happened = [{"kind": "call.refused", "count": 2}]
    for name, path, role in (
        ("CallPage", "/calls", "privacy"),
        ("AuditPage", "/audit", "auditor"),
        ("IncidentPage", "/incidents", "operator"),
    ):
        shown = service.ask(path, role).json()
        fits(name, shown)
        assert shown["items"]
    for role in ("admin", "operator"):
        fits("System", service.ask("/system", role).json())
