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


def test_a_request_body_is_parsed():
    found = reading.read(
        RequestRequest, sent(kind=["erasure", "access", "access"], identities=[" +49 30 1 ", "Anna", "Anna"], user=None,
             received_at="2026-03-01T09:00:00Z", reference="letter 7", reason=None)
    )  # fmt: skip
    assert found.kinds == (Kind.ERASURE, Kind.ACCESS) and found.received_at == datetime(2026, 3, 1, 9, tzinfo=UTC)
    assert found.asked == Asked(("+49 30 1", "Anna"), None, "letter 7", None)
    short = reading.read(RequestRequest, sent(kind="access", user=ID))
    assert (short.kinds, short.received_at, short.asked) == ((Kind.ACCESS,), None, Asked((), ID))


def test_a_report_body_is_parsed():
    assert reading.read(ReportRequest, b"{}").wanted == ReportRequest().wanted == Wanted()
    body = sent(media="opus", silence_others=True, other_parties=None, passphrase="correct horse")
    found = reading.read(ReportRequest, body).wanted
    assert found == Wanted("opus", True, False, None, "correct horse") and found.encrypted == "passphrase"
    assert "horse" not in repr(found) and "horse" not in repr(reading.read(ReportRequest, body))
    assert reading.read(ReportRequest, sent(recipient=RECIPIENT)).wanted.encrypted == "recipient"


def test_a_selection_and_an_ending_are_parsed():
    found = reading.read(SelectionRequest, b'{"in": ["a", "b", "a", {"call": "c", "parties": [1]}], "out": ["d"]}')
    assert (found.chosen, found.outside) == ({"a": None, "b": None, "c": (1,)}, ["d"])
    for empty in (b"{}", b'{"in": null, "out": null}'):
        assert reading.read(SelectionRequest, empty) == SelectionRequest([], [])
    assert reading.read(CloseRequest, b'{"outcome": "done"}') == CloseRequest("done", None)
    ended = reading.read(CloseRequest, b'{"outcome": "refused", "ground": "excessive"}')
    assert ended == CloseRequest("refused", "excessive")


SELECTED = [7, {"call": "a"}, {"call": 1, "parties": [1]}, {"call": "a", "parties": [0], "x": 1}]
SELECTED += [{"call": "a", "parties": parties} for parties in ([], [True], ["0"], 0, [0] * 101)]


@pytest.mark.parametrize(
    ("kind", "members", "names"),
    [
        (RequestRequest, {}, ["kind", "identities"]),
        (RequestRequest, {"kind": "access"}, ["identities"]),
        (RequestRequest, {"kind": [], "identities": ["a"]}, ["kind"]),
        (RequestRequest, {"kind": ["access", "x"], "identities": ["a"]}, ["kind"]),
        (RequestRequest, {"kind": [["access"]], "identities": ["a"]}, ["kind"]),
        (RequestRequest, {"kind": "access", "identities": "a"}, ["identities", "identities"]),
        (RequestRequest, {"kind": "access", "identities": [" "]}, ["identities", "identities"]),
        (RequestRequest, {"kind": "access", "identities": ["a"] * 51}, ["identities", "identities"]),
        (RequestRequest, {"kind": "access", "identities": ["a" * 513]}, ["identities", "identities"]),
        (RequestRequest, {"kind": "access", "user": "me"}, ["user"]),
        (RequestRequest, {"kind": "access", "user": [ID]}, ["user"]),
        (RequestRequest, {"kind": "access", "user": ID, "received_at": "yesterday"}, ["received_at"]),
        (RequestRequest, {"kind": "access", "user": ID, "reference": "r" * 201}, ["reference"]),
        (RequestRequest, {"kind": "access", "user": ID, "reason": 7}, ["reason"]),
        (RequestRequest, {"kind": "access", "user": ID, "more": 7}, [""]),
        *((SelectionRequest, {"in": [each]}, ["in"]) for each in SELECTED),
        (SelectionRequest, {"in": ["a"], "out": ["a"]}, ["out"]),
        (SelectionRequest, {"in": "a", "out": [7]}, ["in", "out"]),
        (SelectionRequest, {"in": ["a"] * 20_001}, ["in"]),
        (ReportRequest, {"media": "pcap"}, ["media"]),
        (ReportRequest, {"media": True}, ["media"]),
        (ReportRequest, {"silence_others": True}, ["silence_others"]),
        (ReportRequest, {"silence_others": 1}, ["silence_others"]),
        (ReportRequest, {"other_parties": "yes"}, ["other_parties"]),
        (ReportRequest, {"passphrase": "too short"}, ["passphrase"]),
        (ReportRequest, {"passphrase": " "}, ["passphrase"]),
        (ReportRequest, {"passphrase": "correct horse\ud83d"}, ["passphrase"]),
        (ReportRequest, {"recipient": "age1x"}, ["recipient"]),
        (ReportRequest, {"recipient": RECIPIENT, "passphrase": "correct horse"}, ["recipient"]),
        (ReportRequest, {"column_set": "x"}, [""]),
        (CloseRequest, {"outcome": "refused"}, ["ground"]),
        (CloseRequest, {"outcome": "refused", "ground": "because"}, ["ground"]),
        (CloseRequest, {"outcome": "done", "ground": "other"}, ["ground"]),
        (CloseRequest, {"outcome": "open"}, ["outcome"]),
        (CloseRequest, {"outcome": ["done"]}, ["outcome"]),
    ],
)
def test_an_invalid_body_names_its_faults(kind, members, names):
    with pytest.raises(Problem) as refused:
        reading.read(kind, json.dumps(members).encode())
    assert refused.value.status == 422
    assert [error.get("name", "") for error in refused.value.errors] == names
