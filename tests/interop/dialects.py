"""How families of recording clients speak and in which order, as far as it differs: the stuff of sipp's scenarios.

The messages are our own, written after what those clients send; `docs/interop/README.md` says so too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

FINAL = "urn:ietf:params:xml:ns:recording:1"
DRAFT = "urn:ietf:params:xml:ns:recording"


@dataclass(frozen=True)
class Say:
    """One request of the client and the answer it expects."""

    method: str = "INVITE"
    media: tuple[str, ...] = ("a=sendonly", "a=sendonly")  # a line each: direction, "0.0.0.0", "port 0"; none: no SDP
    people: tuple[str, ...] = ("Alice", "Bob")  # whom the metadata name; none: no metadata
    status: int = 200
    lines: str = ""  # further header fields
    dialog: str = ""  # prefix of the Call-ID of a further dialog
    answer: tuple[str, ...] = ()  # SDP in the ACK, for an INVITE without an offer


@dataclass(frozen=True)
class Dialect:
    """How one family writes its messages, and what it says in a call."""

    name: str
    steps: tuple[Say, ...]
    require: str = "Require: siprec\n"
    contact: str = ">;+sip.src"
    kind: str = "application/rs-metadata+xml"
    disposition: str = "Content-Disposition: recording-session\n"
    metadata_first: bool = False
    blank: str = ""  # ahead of each body
    boundary: str = "boundary-of-the-test"
    quoted: bool = False
    closing: bool = True  # the last delimiter is there
    write: Callable[[Dialect, tuple[str, ...], str], str] = field(default=lambda *_: "")
    namespace: str = FINAL
    lines: str = ""  # header fields of every INVITE
    sender: str = ""  # parameters of the From URI
    kinds: tuple[str, ...] = ("audio", "audio")
    names: frozenset[str | None] = frozenset({"Alice", "Bob"})
    streams: int = 2
    pauses: int = 0  # of the first stream
    recordings: int = 1
    plain: bool = False  # needs a customer with siprec = "plain" and late_offer


def final(dialect: Dialect, people: tuple[str, ...], mode: str) -> str:
    """Write metadata as the final RFC 7865 has them; every person sends the stream of the same number."""
    out = [f'<recording xmlns="{dialect.namespace}"><datamode>{mode}</datamode><group group_id="group-[call_id]"/>']
    out.append('<session session_id="[call_id]"><group-ref>group-[call_id]</group-ref></session>')
    for n, name in enumerate(people, 1):
        out.append(
            f'<participant participant_id="p{n}"><nameID aor="sip:+49301{n}00@pbx.example"><name>{name}</name></nameID>'
            f'</participant><stream stream_id="s{n}" session_id="[call_id]"><label>{n}</label></stream>'
            f'<participantsessionassoc participant_id="p{n}" session_id="[call_id]"/>'
            f'<participantstreamassoc participant_id="p{n}"><send>s{n}</send></participantstreamassoc>'
        )
    return "".join([*out, "</recording>\n"])


def mixed(dialect: Dialect, people: tuple[str, ...], mode: str) -> str:
    """One stream that everybody sends."""
    text = final(dialect, people, mode)
    return text.replace("<send>s2</send>", "<send>s1</send>").replace(
        '<stream stream_id="s2" session_id="[call_id]"><label>2</label></stream>', ""
    )


def inside(dialect: Dialect, people: tuple[str, ...], mode: str) -> str:
    """As the drafts: who sends what stands in the participant, and the id of a person is the number."""
    out = [f'<recording xmlns="{dialect.namespace}"><dataMode>{mode}</dataMode><session id="[call_id]"/>']
    for n, name in enumerate(people, 1):
        out.append(
            f'<participant id="+49301{n}00" session="[call_id]"><nameID aor="+49301{n}00"><name>{name}</name></nameID>'
            f'<send>s{n}</send></participant><stream id="s{n}" session="[call_id]"><label>{n}</label></stream>'
        )
    return "".join([*out, "</recording>\n"])


def broadworks(dialect: Dialect, people: tuple[str, ...], mode: str) -> str:
    """The older schema with a root of its own."""
    out = ['<recording_metadata xmlns="urn:ietf:params:xml:ns:siprec"><recording><type>selective</type></recording>']
    out.append('<group id="g1"><initiator>sip:+4930100@pbx.example</initiator></group><session id="[call_id]"/>')
    for n, name in enumerate(people, 1):
        out.append(
            f'<participant id="p{n}" session="[call_id]"><aor>sip:+49301{n}00@pbx.example</aor><name>{name}</name>'
            f"<send><id>s{n}</id></send></participant>"
            f'<stream id="s{n}" session="[call_id]"><label>{n}</label><mode>separate</mode></stream>'
        )
    return "".join([*out, "</recording_metadata>\n"])


def bare(dialect: Dialect, people: tuple[str, ...], mode: str) -> str:
    """People and labels, no association at all."""
    out = [f'<recording xmlns="{dialect.namespace}"><session session_id="[call_id]"/>']
    out += [
        f'<participant participant_id="p{n}"><nameID aor="sip:+49301{n}00@pbx.example"><name>{name}</name></nameID>'
        f'</participant><stream stream_id="s{n}" session_id="[call_id]"><label>{n}</label></stream>'
        for n, name in enumerate(people, 1)
    ]
    return "".join([*out, "</recording>\n"])


def attribute(dialect: Dialect, people: tuple[str, ...], mode: str) -> str:
    """The mode as an attribute of the root."""
    text = final(dialect, people, mode).replace(f"<datamode>{mode}</datamode>", "")
    return text.replace('">', f'" dataMode="{mode}">', 1)


def prefixed(dialect: Dialect, people: tuple[str, ...], mode: str) -> str:
    """Every element with a prefix, in the namespace of the drafts."""
    text = final(dialect, people, mode).replace("<", "<tns:").replace("<tns:/", "</tns:")
    return text.replace("xmlns=", "xmlns:tns=")


NOBODY: tuple[str, ...] = ()
INVITE, BYE = Say(), Say("BYE", (), NOBODY)
HOLD, RESUME = Say(media=("a=inactive", "a=inactive")), Say()
BARE_HOLD, BARE_RESUME = replace(HOLD, people=NOBODY), replace(RESUME, people=NOBODY)
ZERO = Say(media=("0.0.0.0", "0.0.0.0"), people=NOBODY)
RENAMED = ("Alice", "Carla")
CARLA = frozenset({"Alice", "Carla"})
TIMER = "Supported: timer\nSession-Expires: 1800;refresher=uac\n"

DIALECTS = (
    Dialect("opensips", (INVITE, HOLD, RESUME, BYE), write=final, pauses=1),
    Dialect(
        "audiocodes", (INVITE, HOLD, RESUME, BYE), contact=">;src", kind="application/rs-metadata", write=inside,
        namespace=DRAFT, pauses=1,
    ),
    Dialect(
        "broadworks", (INVITE, Say("UPDATE", (), RENAMED), ZERO, BARE_RESUME, BYE), require="", contact=">;src",
        metadata_first=True, write=broadworks, pauses=1, names=CARLA,
    ),
    Dialect(
        "webex", (INVITE, BARE_HOLD, BARE_RESUME, Say("UPDATE", (), ("Alice", "Bob", "Dora")), BYE), require="",
        contact=">;src", metadata_first=True, write=broadworks, pauses=1, lines="Recv-Info:\nSupported:\n",
        names=frozenset({"Alice", "Bob", "Dora"}),
    ),
    Dialect(
        "avaya",
        (
            Say(media=("a=sendonly",), people=("Alice",)), Say("UPDATE", (), ("Alice", "Bob")),
            Say(people=NOBODY), BYE,
        ),
        contact=";+sip.src>", write=attribute,
    ),
    Dialect(
        "cube", (HOLD, RESUME, Say("UPDATE", (), RENAMED), replace(BYE, people=RENAMED)),
        write=final, lines=TIMER, names=CARLA, pauses=1,
    ),
    Dialect(
        "cube-escalation",
        (INVITE, Say(media=("a=sendonly",) * 3), Say(media=("a=sendonly", "a=sendonly", "port 0")), BYE),
        write=final, kinds=("audio", "audio", "video"), streams=3,
    ),
    Dialect(
        "ribbon", (INVITE, BYE), write=prefixed, namespace=DRAFT, closing=False,
        lines="Accept: application/sdp, application/rs-metadata-request\nSupported: timer\nSession-Expires: 1800\n",
    ),
    Dialect(
        "metaswitch", (Say(media=("a=sendonly",)), Say(media=("0.0.0.0",)), Say(media=("a=sendonly",)), BYE),
        kind="application/rs-metadata", write=mixed, namespace=DRAFT, streams=1, pauses=1,
    ),
    Dialect(
        "twilio", (INVITE, replace(BYE, people=RENAMED)), write=final, boundary="----=_Part_1_2.3", quoted=True,
        names=CARLA, lines="Supported: timer\nMin-SE: 35\nSession-Expires: 1800\n",
    ),
    Dialect(
        "netsapiens",
        (INVITE, replace(BYE), Say(people=RENAMED, dialog="next"), replace(BYE, dialog="next")),
        write=final, recordings=2, names=frozenset({"Alice", "Bob", "Carla"}),
    ),
    Dialect("jambonz", (INVITE, BARE_HOLD, BARE_RESUME, BYE), contact=">", write=final, pauses=1),
    Dialect("sems", (INVITE, HOLD, Say(people=RENAMED), BYE), write=attribute, names=CARLA, pauses=1),
    Dialect("google", (INVITE, BYE), contact=">", write=bare, blank="\n"),
    Dialect(
        "phrsite", (Say(media=("a=sendonly",) * 6), BYE), contact=">;+sip-src", disposition="", write=final,
        kinds=("audio", "audio", "video", "video", "text", "message"), streams=5,
    ),
    Dialect(
        "genesys", (Say(media=("a=sendonly", "a=sendonly", "a=inactive", "a=inactive")), BYE), require="", contact=">",
        write=final, kinds=("audio",) * 4, streams=4,
    ),
    Dialect("late-metadata", (Say(people=NOBODY), Say("UPDATE", (), ("Alice", "Bob")), BYE), write=final),
    Dialect(
        "session-timer",
        (
            Say(status=422, lines="Supported: timer\nSession-Expires: 60\n"),
            Say(lines="Supported: timer\nMin-SE: 90\nSession-Expires: 90;refresher=uac\n"),
            Say("UPDATE", (), NOBODY, lines="Supported: timer\nSession-Expires: 90;refresher=uac\n"),
            Say(people=NOBODY, lines="Supported: timer\nSession-Expires: 90;refresher=uac\n"), BYE,
        ),
        write=final,
    ),
    Dialect(
        "prack", (INVITE, Say("PRACK", (), NOBODY, 481, "RAck: 1 1 INVITE\n"), BYE), write=final,
        lines="Supported: 100rel\nRequire: 100rel\n",
    ),
    Dialect(
        "slot-reused", (INVITE, Say(media=("a=sendonly", "port 0")), Say(media=("a=sendonly", "a=sendonly")), BYE),
        write=final,
    ),
    Dialect(
        "in-the-dialog",
        (INVITE, Say("OPTIONS", (), NOBODY), Say("INFO", (), NOBODY), Say("SUBSCRIBE", (), NOBODY, 405), BYE),
        write=final,
    ),
    Dialect(
        "cube-network-based", (Say(people=NOBODY), BYE), require="", contact=">", plain=True, names=frozenset({None}),
        lines='X-Cisco-Recording-Participant: sip:+4930100@pbx.example;media-index="0"\n'
        'X-Cisco-Recording-Participant: sip:+4930200@pbx.example;media-index="1"\n',
    ),
    Dialect(
        "cucm-bridge", (Say(media=(), people=NOBODY, answer=("a=sendonly",)), BYE), require="", contact=">", plain=True,
        names=frozenset({None}), streams=1,
        sender=";x-nearend;x-refci=[call_number];x-nearendaddr=1001;x-farendaddr=1002",
    ),
)  # fmt: skip
