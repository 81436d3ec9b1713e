"""Run sipp, the SIP load generator of Debian's sip-tester, with scenarios written after what clients really send."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.interop.dialects import Dialect, Say

RUN_SECONDS = 40
FIRST_CSEQ = 1
FORMATS = {"audio": "8 101", "video": "96", "text": "98", "message": "*"}
MAPS = {
    "audio": "a=rtpmap:8 PCMA/8000\na=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15\n",
    "video": "a=rtpmap:96 H264/90000\n",
    "text": "a=rtpmap:98 t140/1000\n",
    "message": "a=path:msrp://[media_ip]:7394/x;tcp\n",
}


def available() -> bool:
    """Whether sipp is installed."""
    return shutil.which("sipp") is not None


def scenario(dialect: Dialect) -> str:
    """Write a whole call, step by step."""
    out: list[str] = []
    for number, step in enumerate(dialect.steps, FIRST_CSEQ):
        out += _step(dialect, step, number)
    body = "\n".join(out)
    return f'<?xml version="1.0" encoding="UTF-8" ?>\n<scenario name="{dialect.name}">\n{body}\n</scenario>\n'


def run(
    folder: Path,
    dialect: Dialect,
    port: int,
    *,
    calls: int,
    rate: int,
    transport: str = "u1",
    source: str = "127.0.0.1",
) -> subprocess.CompletedProcess[str]:
    """Place calls at the daemon; exit status 0 means that every one went as the scenario says."""
    path = folder / f"{dialect.name}-{transport}.xml"
    path.write_text(scenario(dialect))
    words = ["sipp", f"127.0.0.1:{port}", "-sf", str(path), "-i", source, "-t", transport, "-m", str(calls)]
    words += ["-r", str(rate), "-l", str(calls), "-timeout", str(RUN_SECONDS), "-nostdin", "-trace_err", "-max_socket"]
    words += ["200", "-recv_timeout", "8000", "-error_file", str(folder / f"{dialect.name}-{transport}.err")]
    return subprocess.run(
        words, cwd=folder, capture_output=True, text=True, timeout=RUN_SECONDS + 20, check=False, errors="replace"
    )


def _step(dialect: Dialect, step: Say, cseq: int) -> list[str]:
    out = [_send(dialect, step, cseq)]
    if step.method == "INVITE":
        out.append('<recv response="100" optional="true"/>')
    out.append(_receive(dialect, step))
    if step.method == "INVITE":
        out.append(_ack(dialect, step, cseq))
        out.append('<pause milliseconds="150"/>' if step.status == 200 else "")
    return out


def _sdp(dialect: Dialect, media: tuple[str, ...], cseq: int) -> str:
    held = "0.0.0.0" in media
    origin = "0.0.0.0" if held and len(media) == 1 else "[local_ip]"
    out = [f"v=0\no=src 1 {cseq} IN IP4 {origin}\ns=-\nc=IN IP4 {'0.0.0.0' if held else '[media_ip]'}\nt=0 0\n"]
    kinds = (*dialect.kinds, *("audio",) * len(media))
    for index, (kind, direction) in enumerate(zip(kinds, media, strict=False)):
        port = "0" if direction == "port 0" else f"[media_port+{2 * index}]"
        profile = "TCP/MSRP" if kind == "message" else "RTP/AVP"
        out.append(f"m={kind} {port} {profile} {FORMATS[kind]}\n{MAPS[kind]}")
        out.append(f"{direction}\n" if direction.startswith("a=") else "")
        out.append(f"a=label:{index + 1}\n" if port != "0" else "")
    return "".join(out)


def _body(dialect: Dialect, step: Say, cseq: int) -> tuple[str, str]:
    """Give type and body; one part alone is no multipart."""
    mode = "partial" if cseq > FIRST_CSEQ and dialect.name == "sems" else "complete"
    sdp = _sdp(dialect, step.media, cseq) if step.media else ""
    metadata = dialect.write(dialect, step.people, mode) if step.people else ""
    metadata = metadata.replace('session_id="[call_id]"', f'session_id="{step.dialog}[call_id]"')
    parts = [("application/sdp", "", sdp), (dialect.kind, dialect.disposition, metadata)]
    parts = [part for part in parts if part[2]]
    if not parts:
        return "", ""
    if len(parts) == 1:
        return parts[0][0], parts[0][2]
    if dialect.metadata_first:
        parts.reverse()
    name = dialect.boundary
    body = "".join(f"--{name}\nContent-Type: {kind}\n{more}\n{dialect.blank}{text}\n" for kind, more, text in parts)
    kind = f'multipart/mixed;boundary="{name}"' if dialect.quoted else f"multipart/mixed;boundary={name}"
    return kind, body + (f"--{name}--\n" if dialect.closing else "")


def _send(dialect: Dialect, step: Say, cseq: int) -> str:
    kind, body = _body(dialect, step, cseq)
    more = dialect.require + dialect.lines if step.method == "INVITE" else ""
    if "Session-Expires" in step.lines:
        more = dialect.require
    allow = "Allow: INVITE, ACK, BYE, CANCEL, UPDATE, OPTIONS\n" if step.method == "INVITE" else ""
    typed = f"Content-Type: {kind}\n" if body else ""
    head = _head(dialect, step, step.method, cseq)
    text = f"{head}{more}{step.lines}{allow}{typed}Content-Length: [len]\n\n{body}"
    return f'<send retrans="500"><![CDATA[\n{text}\n]]></send>'


def _ack(dialect: Dialect, step: Say, cseq: int) -> str:
    body = _sdp(dialect, step.answer, cseq) if step.answer else ""
    typed = "Content-Type: application/sdp\n" if body else ""
    # The ACK of a refusal has the branch of its INVITE (RFC 3261 section 17.1.1.3): sipp counts messages back.
    branch = "[branch]" if step.status == 200 else "[branch-3]"
    text = f"{_head(dialect, step, 'ACK', cseq, branch)}{typed}Content-Length: [len]\n\n{body}"
    return f"<send><![CDATA[\n{text}\n]]></send>"


def _head(dialect: Dialect, step: Say, method: str, cseq: int, branch: str = "[branch]") -> str:
    call_id = f"{step.dialog}///[call_id]" if step.dialog else "[call_id]"
    opening = step.method == "INVITE" and method == "INVITE" and (cseq == FIRST_CSEQ or bool(step.dialog))
    tag = (
        ""
        if opening or (cseq == FIRST_CSEQ + 1 and dialect.steps[0].status != 200 and method == "INVITE")
        else "[peer_tag_param]"
    )
    return (
        f"{method} sip:rec@[remote_ip]:[remote_port] SIP/2.0\n"
        f"Via: SIP/2.0/[transport] [local_ip]:[local_port];branch={branch};rport\nMax-Forwards: 70\n"
        f"From: <sip:sbc@[local_ip]:[local_port]{dialect.sender}>;tag=t[call_number]\nTo: <sip:rec@[remote_ip]>{tag}\n"
        f"Call-ID: {call_id}\nCSeq: {cseq} {method}\n"
        f"Contact: <sip:sbc@[local_ip]:[local_port];transport=[transport]{dialect.contact}\n"
    )


def _receive(dialect: Dialect, step: Say) -> str:
    """Expect the answer; in that to an offer, our tag, and for every line its label and direction."""
    if step.method != "INVITE" or step.status != 200:
        return f'<recv response="{step.status}" rtd="true"/>'
    wanted = [(r"\+sip\.srs", "msg")]
    if step.media:
        wanted.append(("a=inactive" if "a=inactive" in step.media[:1] else "a=recvonly", "body"))
        wanted += [(f"a=label:{n}", "body") for n, line in enumerate(step.media, 1) if _labelled(dialect, n, line)]
    both = "".join(
        f'<ereg regexp="{pattern}" search_in="{where}" check_it="true" assign_to="{n}"/>'
        for n, (pattern, where) in enumerate(wanted, 1)
    )
    # sipp takes a variable that nobody reads for an error.
    log = "".join(f'<log message="[${n}]"/>' for n in range(1, len(wanted) + 1))
    return f'<recv response="{step.status}" rtd="true"><action>{both}{log}</action></recv>'


def _labelled(dialect: Dialect, number: int, line: str) -> bool:
    return line != "port 0" and dialect.kinds[number - 1 : number] != ("message",)
