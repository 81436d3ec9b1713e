"""Bodies about requests: what is taken, and every way of being wrong."""

import json
from datetime import UTC, datetime

import pytest

from admin_api.http.problems import Problem
from admin_api.privacy import request_bodies as bodies
from storage.subject_requests.cases import Asked, Kind, Step, Wanted

ID = "6f1c7e0a-2f0b-4c57-9d4e-0b6a4b1f7c11"
RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"


def sent(**members):
    return json.dumps(members).encode()


def wrong(read, data):
    with pytest.raises(Problem) as refused:
        read(data)
    assert refused.value.status == 422
    return [error.get("name", "") for error in refused.value.errors]


def test_a_request_body_is_parsed():
    found = bodies.letter(
        sent(kind=["erasure", "access", "access"], identities=[" +49 30 1 ", "Anna", "Anna"], user=None,
             received_at="2026-03-01T09:00:00Z", reference="letter 7", reason=None)
    )  # fmt: skip
    assert found.kinds == (Kind.ERASURE, Kind.ACCESS) and found.received_at == datetime(2026, 3, 1, 9, tzinfo=UTC)
    assert found.asked == Asked(("+49 30 1", "Anna"), None, "letter 7", None)
    short = bodies.letter(sent(kind="access", user=ID))
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
    assert wrong(bodies.letter, sent(**members)) == names


def test_a_selection():
    found = bodies.selection(b'{"in": ["a", "b", "a"], "out": ["c"]}')
    assert (found.inside, found.outside) == ({"a": None, "b": None}, ("c",))
    assert bodies.selection(b"{}") == bodies.Chosen({}, ())
    assert bodies.selection(b'{"in": ["a", {"call": "b", "parties": [1]}]}').inside == {"a": None, "b": (1,)}
    odd = [7, {"call": "a"}, {"call": 1, "parties": [1]}, {"call": "a", "parties": [0], "x": 1}]
    odd += [{"call": "a", "parties": parties} for parties in ([], [True], ["0"], 0, [0] * 101)]
    for each in odd:
        assert wrong(bodies.selection, sent(**{"in": [each]})) == ["in"]
    assert wrong(bodies.selection, b'{"in": ["a"], "out": ["a"]}') == ["out"]
    assert wrong(bodies.selection, b'{"in": "a", "out": [7]}') == ["in", "out"]
    assert wrong(bodies.selection, sent(**{"in": ["a"] * 20_001})) == ["in"]


def test_a_report_body_is_parsed():
    assert bodies.report(b"") == bodies.report(b"{}") == Wanted()
    found = bodies.report(sent(media="opus", silence_others=True, other_parties=False, passphrase="correct horse"))
    assert found == Wanted("opus", True, False, None, "correct horse") and found.encrypted == "passphrase"
    assert "horse" not in repr(found)
    assert bodies.report(sent(recipient=RECIPIENT)).encrypted == "recipient"


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
    assert wrong(bodies.report, sent(**members)) == names


def test_an_ending():
    assert bodies.ending(b'{"outcome": "done"}') == bodies.Ending(Step.DONE, None)
    assert bodies.ending(b'{"outcome": "refused", "ground": "excessive"}') == bodies.Ending(Step.REFUSED, "excessive")
    assert wrong(bodies.ending, b'{"outcome": "refused"}') == ["ground"]
    assert wrong(bodies.ending, b'{"outcome": "refused", "ground": "because"}') == ["ground"]
    assert wrong(bodies.ending, b'{"outcome": "done", "ground": "other"}') == ["ground"]
    assert wrong(bodies.ending, b'{"outcome": "open"}') == ["outcome"]
    assert wrong(bodies.ending, b'{"outcome": ["done"]}') == ["outcome"]


def test_no_fault_repeats_what_was_sent():
    with pytest.raises(Problem) as refused:
        bodies.letter(sent(kind="Zzyzx", user="Zzyzx", received_at="Zzyzx", Zzyzx=1))
    assert "Zzyzx" not in json.dumps(refused.value.document())
