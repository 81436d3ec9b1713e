"""Bodies about requests: what is taken, and every way of being wrong."""

import json
from datetime import UTC, datetime

import pytest

from admin_api.http import reading
from admin_api.http.problems import Problem
from admin_api.privacy.request_bodies import CloseRequest, ReportRequest, RequestRequest, SelectionRequest
from storage.subject_requests.cases import Asked, Kind, Wanted

ID = "6f1c7e0a-2f0b-4c57-9d4e-0b6a4b1f7c11"
RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"


def sent(**members):
    return json.dumps(members).encode()


def wrong(kind, data):
    with pytest.raises(Problem) as refused:
        reading.read(kind, data)
    assert refused.value.status == 422
    return [error.get("name", "") for error in refused.value.errors]


def test_a_request_body_is_parsed():
    found = reading.read(
        RequestRequest, sent(kind=["erasure", "access", "access"], identities=[" +49 30 1 ", "Anna", "Anna"], user=None,
             received_at="2026-03-01T09:00:00Z", reference="letter 7", reason=None)
    )  # fmt: skip
    assert found.kinds == (Kind.ERASURE, Kind.ACCESS) and found.received_at == datetime(2026, 3, 1, 9, tzinfo=UTC)
    assert found.asked == Asked(("+49 30 1", "Anna"), None, "letter 7", None)
    short = reading.read(RequestRequest, sent(kind="access", user=ID))
    assert (short.kinds, short.received_at, short.asked) == ((Kind.ACCESS,), None, Asked((), ID))


@pytest.mark.parametrize(
    ("members", "names"),
    [
        ({}, ["kind", "identities"]),
        ({"kind": "access"}, ["identities"]),
        ({"kind": [], "identities": ["a"]}, ["kind"]),
        ({"kind": ["access", "x"], "identities": ["a"]}, ["kind"]),
        ({"kind": [["access"]], "identities": ["a"]}, ["kind"]),
        ({"kind": "access", "identities": "a"}, ["identities", "identities"]),
        ({"kind": "access", "identities": [" "]}, ["identities", "identities"]),
        ({"kind": "access", "identities": ["a"] * 51}, ["identities", "identities"]),
        ({"kind": "access", "identities": ["a" * 513]}, ["identities", "identities"]),
        ({"kind": "access", "user": "me"}, ["user"]),
        ({"kind": "access", "user": [ID]}, ["user"]),
        ({"kind": "access", "user": ID, "received_at": "yesterday"}, ["received_at"]),
        ({"kind": "access", "user": ID, "reference": "r" * 201}, ["reference"]),
        ({"kind": "access", "user": ID, "reason": 7}, ["reason"]),
        ({"kind": "access", "user": ID, "more": 7}, [""]),
    ],
)
def test_an_invalid_request_body_names_its_faults(members, names):
    assert wrong(RequestRequest, sent(**members)) == names


def test_a_selection():
    found = reading.read(SelectionRequest, b'{"in": ["a", "b", "a"], "out": ["c"]}')
    assert (found.chosen, found.outside) == ({"a": None, "b": None}, ["c"])
    for empty in (b"{}", b'{"in": null, "out": null}'):
        assert reading.read(SelectionRequest, empty) == SelectionRequest([], [])
    found = reading.read(SelectionRequest, b'{"in": ["a", {"call": "b", "parties": [1]}]}')
    assert found.chosen == {"a": None, "b": (1,)}
    odd = [7, {"call": "a"}, {"call": 1, "parties": [1]}, {"call": "a", "parties": [0], "x": 1}]
    odd += [{"call": "a", "parties": parties} for parties in ([], [True], ["0"], 0, [0] * 101)]
    for each in odd:
        assert wrong(SelectionRequest, sent(**{"in": [each]})) == ["in"]
    assert wrong(SelectionRequest, b'{"in": ["a"], "out": ["a"]}') == ["out"]
    assert wrong(SelectionRequest, b'{"in": "a", "out": [7]}') == ["in", "out"]
    assert wrong(SelectionRequest, sent(**{"in": ["a"] * 20_001})) == ["in"]


def test_a_report_body_is_parsed():
    assert reading.read(ReportRequest, b"{}").wanted == ReportRequest().wanted == Wanted()
    body = sent(media="opus", silence_others=True, other_parties=None, passphrase="correct horse")
    found = reading.read(ReportRequest, body).wanted
    assert found == Wanted("opus", True, False, None, "correct horse") and found.encrypted == "passphrase"
    assert "horse" not in repr(found) and "horse" not in repr(reading.read(ReportRequest, body))
    assert reading.read(ReportRequest, sent(recipient=RECIPIENT)).wanted.encrypted == "recipient"


@pytest.mark.parametrize(
    ("members", "names"),
    [
        ({"media": "pcap"}, ["media"]),
        ({"media": True}, ["media"]),
        ({"silence_others": True}, ["silence_others"]),
        ({"silence_others": 1}, ["silence_others"]),
        ({"other_parties": "yes"}, ["other_parties"]),
        ({"passphrase": "too short"}, ["passphrase"]),
        ({"passphrase": " "}, ["passphrase"]),
        ({"passphrase": "correct horse\ud83d"}, ["passphrase"]),
        ({"recipient": "age1x"}, ["recipient"]),
        ({"recipient": RECIPIENT, "passphrase": "correct horse"}, ["recipient"]),
        ({"column_set": "x"}, [""]),
    ],
)
def test_an_invalid_report_body_names_its_faults(members, names):
    assert wrong(ReportRequest, sent(**members)) == names


def test_an_ending():
    assert reading.read(CloseRequest, b'{"outcome": "done"}') == CloseRequest("done", None)
    found = reading.read(CloseRequest, b'{"outcome": "refused", "ground": "excessive"}')
    assert found == CloseRequest("refused", "excessive")
    assert wrong(CloseRequest, b'{"outcome": "refused"}') == ["ground"]
    assert wrong(CloseRequest, b'{"outcome": "refused", "ground": "because"}') == ["ground"]
    assert wrong(CloseRequest, b'{"outcome": "done", "ground": "other"}') == ["ground"]
    assert wrong(CloseRequest, b'{"outcome": "open"}') == ["outcome"]
    assert wrong(CloseRequest, b'{"outcome": ["done"]}') == ["outcome"]
