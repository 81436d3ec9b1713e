"""Problem documents have the members of RFC 9457 and say what to do."""

import pytest

from admin_api.http import problems
from admin_api.http.messages import Message

ALL = [
    (problems.unauthorized(), 401),
    (problems.forbidden(["admin"]), 403),
    (problems.not_found(), 404),
    (problems.wrong_method(["GET", "HEAD"]), 405),
    (problems.too_slow(), 408),
    (problems.conflict(Message("problem.over", "It is over.")), 409),
    (problems.too_large(10), 413),
    (problems.invalid([("limit", Message("reason.one", "must be 1"))], "query"), 422),
    (problems.too_many(3), 429),
    (problems.bug(), 500),
    (problems.damaged(), 500),
    (problems.unavailable(Message("problem.full", "Disk full.")), 503),
]


@pytest.mark.parametrize(("problem", "status"), ALL, ids=lambda x: getattr(x, "code", None))
def test_it_is_a_problem_document(problem, status):
    shown = problem.document()
    assert shown["status"] == problem.status == status
    assert shown["type"].startswith("urn:siprec-recorder:problem:")
    assert shown["title"] and shown["detail"].endswith(".")


def test_each_problem_kind_has_its_own_type():
    assert len({problem.document()["type"] for problem, _ in ALL}) == len(ALL)


def test_the_text_of_the_exception_is_its_kind_only():
    assert str(problems.invalid([("", Message("reason.secret", "secret"))])) == "invalid"
