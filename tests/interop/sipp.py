"""Run sipp, the SIP load generator of Debian's sip-tester, with scenarios written after what clients really send."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

NAMESPACE = "urn:ietf:params:xml:ns:recording:1"
BOUNDARY = "boundary-of-the-test"
RUN_SECONDS = 40


@dataclass(frozen=True)
class Dialect:
    """How one family of clients writes its messages."""

    name: str
    require: str = "Require: siprec\n"
    contact: str = ">;+sip.src"
    kind: str = "application/rs-metadata+xml"
    metadata_first: bool = False
    namespace: str = NAMESPACE
    update: bool = False  # names change by UPDATE with the metadata alone
    hold: str = "a=inactive"  # how a re-INVITE says hold; empty: no re-INVITE
    bye_metadata: bool = False
    accept: str = ""
    timer: str = ""


DIALECTS = (
    Dialect("opensips"),
    Dialect("audiocodes", contact=">;src", kind="application/rs-metadata", namespace=NAMESPACE.removesuffix(":1")),
    Dialect("broadworks", require="", contact=">;src", metadata_first=True, hold="c=IN IP4 0.0.0.0"),
    Dialect("avaya", contact=";+sip.src>", update=True, hold=""),
    Dialect("cube", bye_metadata=True, timer="Supported: timer\nSession-Expires: 1800\n"),
    Dialect("ribbon", accept="Accept: application/sdp, application/rs-metadata-request\n"),
)


def available() -> bool:
    """Whether sipp is installed."""
    return shutil.which("sipp") is not None


def scenario(dialect: Dialect) -> str:
    """Write a whole call: INVITE, hold, resume, new names, BYE."""
    steps = [_invite(dialect, 1, "a=sendonly"), _receive(100, optional=True), _receive(200, check=True), _ack(1)]
    steps.append('<pause milliseconds="200"/>')
    cseq = 2
    for direction in (dialect.hold, "a=sendonly") if dialect.hold else ():
        steps += [_invite(dialect, cseq, direction), _receive(100, optional=True), _receive(200), _ack(cseq)]
        cseq += 1
    if dialect.update:
        steps += [_send("UPDATE", dialect, cseq, dialect.kind, _metadata(dialect, "Carla")), _receive(200)]
        cseq += 1
    kind, body = (dialect.kind, _metadata(dialect, "Carla")) if dialect.bye_metadata else ("", "")
    steps += [_send("BYE", dialect, cseq, kind, body), _receive(200)]
    body = "\n".join(steps)
    return f'<?xml version="1.0" encoding="UTF-8" ?>\n<scenario name="{dialect.name}">\n{body}\n</scenario>\n'


def run(
    folder: Path, dialect: Dialect, port: int, *, calls: int, rate: int, transport: str = "u1"
) -> subprocess.CompletedProcess[str]:
    """Place calls at the daemon; exit status 0 means that every one went as the scenario says."""
    path = folder / f"{dialect.name}-{transport}.xml"
    path.write_text(scenario(dialect))
    words = ["sipp", f"127.0.0.1:{port}", "-sf", str(path), "-i", "127.0.0.1", "-t", transport, "-m", str(calls)]
    words += ["-r", str(rate), "-l", str(calls), "-timeout", str(RUN_SECONDS), "-nostdin", "-trace_err", "-max_socket"]
    words += ["200", "-recv_timeout", "8000", "-error_file", str(folder / f"{dialect.name}-{transport}.err")]
    return subprocess.run(
        words, cwd=folder, capture_output=True, text=True, timeout=RUN_SECONDS + 20, check=False, errors="replace"
    )


def _invite(dialect: Dialect, cseq: int, direction: str) -> str:
    connection = "" if direction.startswith("c=") else "c=IN IP4 [media_ip]\n"
    lines = f"v=0\no=src 1 {cseq} IN IP4 [local_ip]\ns=-\n{connection}t=0 0\n"
    for label, port in (("1", "[media_port]"), ("2", "[media_port+2]")):
        lines += f"m=audio {port} RTP/AVP 8 101\n"
        lines += f"{direction}\n" if direction.startswith("c=") else ""
        lines += "a=rtpmap:8 PCMA/8000\na=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15\n"
        lines += "" if direction.startswith("c=") else f"{direction}\n"
        lines += f"a=label:{label}\n"
    parts = [("application/sdp", "", lines), (dialect.kind, "Content-Disposition: recording-session\n", "")]
    parts[1] = (dialect.kind, parts[1][1], _metadata(dialect, "Bob"))
    if dialect.metadata_first:
        parts.reverse()
    body = "".join(f"--{BOUNDARY}\nContent-Type: {kind}\n{more}\n{text}\n" for kind, more, text in parts)
    return _send("INVITE", dialect, cseq, f"multipart/mixed;boundary={BOUNDARY}", body + f"--{BOUNDARY}--\n")


def _metadata(dialect: Dialect, second: str) -> str:
    people = "".join(
        f'<participant participant_id="p{n}"><nameID aor="sip:{number}@pbx.example"><name>{name}</name></nameID>'
        f'</participant><stream stream_id="s{n}" session_id="[call_id]"><label>{n}</label></stream>'
        f'<participantstreamassoc participant_id="p{n}"><send>s{n}</send></participantstreamassoc>'
        for n, number, name in ((1, "+4930100", "Alice"), (2, "+4930200", second))
    )
    return (
        f'<?xml version="1.0"?><recording xmlns="{dialect.namespace}"><datamode>complete</datamode>'
        f'<session session_id="[call_id]"/>{people}</recording>\n'
    )


def _send(method: str, dialect: Dialect, cseq: int, kind: str, body: str) -> str:
    first = method == "INVITE" and cseq == 1
    typed = f"Content-Type: {kind}\n" if body else ""
    more = (dialect.require + dialect.accept + dialect.timer) if method == "INVITE" else ""
    allow = "Allow: INVITE, ACK, BYE, CANCEL, UPDATE, OPTIONS\n" if first else ""
    text = (
        f"{method} sip:rec@[remote_ip]:[remote_port] SIP/2.0\n"
        "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch];rport\nMax-Forwards: 70\n"
        f"From: <sip:sbc@[local_ip]:[local_port]>;tag=t[call_number]\nTo: <sip:rec@[remote_ip]>[peer_tag_param]\n"
        f"Call-ID: [call_id]\nCSeq: {cseq} {method}\n"
        f"Contact: <sip:sbc@[local_ip]:[local_port];transport=[transport]{dialect.contact}\n"
        f"{more}{allow}{typed}Content-Length: [len]\n\n{body}"
    )
    return f'<send retrans="500"><![CDATA[\n{text}\n]]></send>'


def _ack(cseq: int) -> str:
    text = (
        "ACK sip:rec@[remote_ip]:[remote_port] SIP/2.0\n"
        "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch];rport\nMax-Forwards: 70\n"
        "From: <sip:sbc@[local_ip]:[local_port]>;tag=t[call_number]\nTo: <sip:rec@[remote_ip]>[peer_tag_param]\n"
        f"Call-ID: [call_id]\nCSeq: {cseq} ACK\nContent-Length: 0\n\n"
    )
    return f"<send><![CDATA[\n{text}\n]]></send>"


def _receive(status: int, *, optional: bool = False, check: bool = False) -> str:
    if optional:
        return f'<recv response="{status}" optional="true"/>'
    if not check:
        return f'<recv response="{status}" rtd="true"/>'
    both = "".join(
        f'<ereg regexp="{pattern}" search_in="{where}" check_it="true" assign_to="{n}"/>'
        for n, (pattern, where) in enumerate(
            ((r"\+sip\.srs", "msg"), ("a=recvonly", "body"), ("a=label:1", "body"), ("a=label:2", "body")), 1
        )
    )
    log = "".join(f'<log message="[${n}]"/>' for n in range(1, 5))
    return f'<recv response="{status}" rtd="true"><action>{both}{log}</action></recv>'
