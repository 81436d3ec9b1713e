from recorder.simulate.dialog import Dialog, Self
from sip.message.headers import Headers
from sip.message.message import Request, Response, parse

ME = Self("tcp", "192.0.2.9", 40000)


def dialog() -> Dialog:
    return Dialog("sip:rec@192.0.2.1", "<sip:rec@192.0.2.1>", "<sip:us@192.0.2.9>;tag=ours", "id-1")


def answered(status: int = 200) -> Response:
    fields = [("To", "<sip:rec@192.0.2.1>;tag=theirs"), ("Contact", "<sip:srs@192.0.2.7:5099>;+sip.srs")]
    routes = [("Record-Route", "<sip:p1.example;lr>, <sip:p2.example;lr>")]
    return Response(status, "", Headers([*fields, *routes, ("CSeq", "1 INVITE")]))


def test_an_invite_carries_both_marks_of_a_recording_client() -> None:
    invite = parse(bytes(dialog().request("INVITE", ME, "z9hG4bKa", ("application/sdp", None, b"v=0\r\n"))))
    assert isinstance(invite, Request)
    assert invite.headers.tokens("Require") == ["siprec"]
    assert (invite.headers.get("Contact") or "").endswith(">;+sip.src")
    assert invite.body == b"v=0\r\n" and invite.headers.get("Content-Type") == "application/sdp"


def test_requests_of_the_dialog_follow_contact_and_route() -> None:
    ours = dialog()
    invite = ours.request("INVITE", ME, "z9hG4bKa")
    refused = ours.ack(answered(486), ME, "z9hG4bKb", invite)
    assert (refused.via.branch, refused.uri) == ("z9hG4bKa", "sip:rec@192.0.2.1")
    ours.refresh("<<>")  # a damaged contact leaves the target
    assert (refused.headers.get("To"), ours.target) == ("<sip:rec@192.0.2.1>;tag=theirs", "sip:rec@192.0.2.1")
    ours.established(answered())
    ack = ours.ack(answered(), ME, "z9hG4bKb", invite)
    assert (ack.via.branch, ack.uri, ack.cseq.number) == ("z9hG4bKb", "sip:srs@192.0.2.7:5099", 1)
    bye = ours.request("BYE", ME, "z9hG4bKb")
    assert (bye.uri, bye.cseq.number) == ("sip:srs@192.0.2.7:5099", 2)
    assert bye.headers.all("Route") == ["<sip:p2.example;lr>", "<sip:p1.example;lr>"]
    assert bye.headers.get("To") == "<sip:rec@192.0.2.1>;tag=theirs"
