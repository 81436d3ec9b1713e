"""What there is to see: every view that can be looked at, with the objects of a customer put into its path."""

from typing import Any

from admin_api.assembly import page_routes
from tests.daemon.api import WAIVER

FILES = ("/file", "/receipt", "/record", "/media", "/waveform", "/attachments/{part}", "/live", "/export")
"""Ends of paths that answer with a file, or with a part of a page."""
LETTER = {
    "kind": ["access", "erasure"],
    "identities": ["+49 30 555 0000", "Anna Schmidt"],
    "received_at": "2026-10-20T00:00:00Z",
    "reference": "letter 17",
}


def furnish(service: Any) -> dict[str, str]:
    """Make one object of each kind, as somebody else; return their ids by the first segment of their paths."""
    acme = service.customers["acme"]
    service.ask("/waiver", method="PUT", json=WAIVER)
    rules = [{"days": 3650, "direction": "inbound", "name": "Trading desk"}, {"days": 30, "party": "Anna Schmidt"}]
    service.ask("/retention", method="PUT", json={"rules": rules})
    request = service.ask("/requests", "privacy", method="POST", json=LETTER).json()["id"]
    done = service.ask("/erasures", "privacy", method="POST", json={"calls": [service.ids["acme"][5]], "reason": "x"})
    service.run(acme.erasures.work())
    waits = service.run(acme.erasures.file(calls=[service.ids["acme"][6]], reason="x", by="Ada", approval=True))
    wanted = {"calls": service.ids["acme"][:2], "format": "xlsx", "reason": "letter 12"}
    export = service.ask("/exports", "privacy", method="POST", json=wanted).json()["id"]
    acme.exports.progress[export] = (3, 7)
    held = service.ids["acme"][8]
    service.ask(f"/calls/{held}/hold", method="PUT", json={"reason": "court"})
    service.ask(f"/calls/{held}/annotations", method="POST", json={"text": "She is called Anna."})
    late = service.run(acme.erasures.file(calls=[service.ids["acme"][7]], reason="x", by="Ada", approval=False))
    service.ask(f"/calls/{service.ids['acme'][7]}/hold", method="PUT", json={"reason": "court"})
    service.run(acme.erasures.work())
    grace = {"first_name": "Grace", "last_name": "Okafor", "email": "grace@werk.example", "numbers": ["+49894440000"]}
    user = service.ask("/users", "privacy", method="POST", json=grace).json()["id"]
    return {
        "calls": service.ids["acme"][9],  # one with a hostile name
        "requests": request,
        "erasures": done.json()["id"],
        "waits": waits.id,
        "held": held,
        "late": late.id,  # an erasure that waits for a hold
        "exports": export,
        "users": user,
    }


def sights(ids: dict[str, str]) -> list[str]:
    """Return the paths of every view that is a page, and of states that a plain look does not show."""
    found = []
    for view in page_routes.VIEWS:
        if view.method == "GET" and view.path != "/" and not view.path.endswith(FILES):
            found.append(view.path.replace("{id}", ids[view.path.split("/")[1]]) if "{" in view.path else view.path)
    states = ("/calls?party=Nobody", "/users?q=Nobody", "/exports/new?party=Anna")
    return [*found, *states, f"/erasures/{ids['waits']}", f"/erasures/{ids['late']}", f"/calls/{ids['held']}"]
