"""The system view: the node for operators, the customer's own figures for admins, marks where something is due."""

from datetime import datetime, timedelta

from admin_api.http.permissions import Role
from storage.timestamps import rfc3339
from tests.in_process import sample_customer


def test_operators_see_the_node_and_administrators_their_calls(browse, service):
    service.daemon.figures = sample_customer.figures(12)
    operator = browse(Role.OPERATOR)
    seen = operator.text("/system")
    assert "The recorder accepts calls." in seen and "of at most 2,000" in seen and "Your calls" not in seen
    part = operator.get("/system", headers={"HX-Request": "true"}).text
    assert "The recorder accepts calls." in part and "<html" not in part and "data-plot" not in part
    seen = browse(Role.ADMIN).text("/system")
    assert "Your calls being recorded" in seen and "312.0 MB" in seen and "plot." not in seen
    assert "Media workers" not in seen and "Certificates" not in seen
    page = browse(Role.OPERATOR, Role.ADMIN).get("/system").text
    assert page.count("data-plot") == 4 and page.count('<tr><th scope="row"><time') == 48


def test_why_no_calls_are_taken(browse, service):
    figures = sample_customer.figures(2)
    node = {**figures["node"], "ready": False, "reason": "storage", "keys_backed_up_at": None, "certificates": []}
    service.daemon.figures = {**figures, "node": node}
    seen = browse(Role.OPERATOR).text("/system")
    assert "The recorder accepts no calls. The disk is full" in seen
    assert "not known back them up" in seen


def test_due_dates_and_low_space_are_marked(browse, service):
    figures = sample_customer.figures(2)
    now = datetime.fromisoformat(figures["at"])
    soon, never = rfc3339(now + timedelta(days=3, hours=1)), None
    node = {
        **figures["node"],
        "certificates": [{"use": "sip", "expires_at": soon}, {"use": "admin_api", "expires_at": never}],
        "disks": [
            {"use": "data", "free_bytes": 5, "size_bytes": 100},
            {"use": "runtime", "free_bytes": 0, "size_bytes": 0},
        ],
    }
    service.daemon.figures = {**figures, "node": node}
    page = browse(Role.OPERATOR).get("/system").text
    assert '<span class="mark bad">3</span>' in page and "cannot be read" in page
    assert page.count("little room") == 2
