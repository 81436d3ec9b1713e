"""Just enough of an SBC's signalling over any transport, with or without a certificate of its own."""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sip.message.framing import Framer
from sip.message.message import Framed, Request, Response, parse

OFFER = (
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    b"m=audio 40000 RTP/AVP 8\r\na=label:1\r\na=sendonly\r\n"
)


class Authority:
    """Somebody who issues certificates, with its file."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._issue(name, self.key, ca=True)
        self.file = folder / f"{name}.crt"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, host: str) -> Path:
        """Make a certificate for a host; key and certificate in one file."""
        key = ec.generate_private_key(ec.SECP256R1())
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        path = self.folder / f"{host}-by-{self.name}.pem"
        made = self._issue(host, key, ca=False)
        path.write_bytes(key.private_bytes(*form) + made.public_bytes(serialization.Encoding.PEM))
        return path

    def _issue(self, host: str, key: ec.EllipticCurvePrivateKey, *, ca: bool) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
        issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, self.name)])
        begin = datetime.now(UTC) - timedelta(days=1)
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
        made = made.serial_number(x509.random_serial_number()).not_valid_before(begin)
        made = made.not_valid_after(begin + timedelta(days=9))
        made = made.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        return made.sign(self.key, hashes.SHA256())


def client(certificate: Path | None = None, **limits: object) -> ssl.SSLContext:
    """Make a TLS context that takes any server; `limits` are attributes of it."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    if certificate is not None:
        made.load_cert_chain(certificate)
    for name, value in limits.items():
        setattr(made, name, value)
    return made


class Link:
    """One way to the recorder."""

    def __init__(
        self, transport: str, port: int, *, source: str = "127.0.0.1", tls: ssl.SSLContext | None = None
    ) -> None:
        kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
        made = socket.socket(socket.AF_INET, kind)
        made.settimeout(30)
        made.bind((source, 0))
        made.connect(("127.0.0.1", port))
        self.transport = transport.upper()
        self.here = "{}:{}".format(*made.getsockname())
        try:
            self.socket = tls.wrap_socket(made) if tls else made
        except OSError:
            made.close()
            raise
        self.cseq = 0
        self._framer, self._heard = Framer(), list[Framed | bytes]()

    def close(self) -> None:
        """Close it."""
        self.socket.close()

    def again(
        self,
        method: str,
        to: str,
        cseq: int = 0,
        *lines: str,
        body: bytes = b"",
        kind: str = "application/sdp",
    ) -> None:
        """Send a request in the dialog of the newest INVITE."""
        cseq = cseq or (1 if method == "ACK" else 2)
        head = [
            f"{method} sip:rec@rec.example SIP/2.0",
            f"Via: SIP/2.0/{self.transport} {self.here};branch=z9hG4bK{self.here}-{self.cseq}{method}{cseq};rport",
            f"From: <sip:sbc@{self.here}>;tag=t{self.cseq}",
            f"To: {to}",
            f"Call-ID: {self.cseq}@{self.here}",
            f"CSeq: {cseq} {method}",
            f"Contact: <sip:sbc@{self.here}>;+sip.src",
            *lines,
            *([f"Content-Type: {kind}"] if body else []),
            f"Content-Length: {len(body)}",
        ]
        self.socket.sendall(("\r\n".join(head) + "\r\n\r\n").encode() + body)

    def reply(self, request: Request, status: int) -> None:
        """Answer a request of the recorder."""
        names = ("Via", "From", "To", "Call-ID", "CSeq")
        head = [f"SIP/2.0 {status} Whatever", *(f"{n}: {v}" for n in names for v in request.headers.all(n))]
        self.socket.sendall(("\r\n".join([*head, "Content-Length: 0"]) + "\r\n\r\n").encode())

    def asked(self) -> Request:
        """Return the next request of the recorder; answers on the way are passed over."""
        while True:
            message = self._next()
            if isinstance(message, Request):
                return message
            if message is None:
                raise ConnectionResetError("the recorder closed the connection")

    def say(
        self, method: str, *lines: str, host: str = "rec.example", body: bytes = b"", kind: str = "application/sdp"
    ) -> None:
        """Send a request that begins or probes a call."""
        self.cseq += 1
        head = [
            f"{method} sip:rec@{host} SIP/2.0",
            f"Via: SIP/2.0/{self.transport} {self.here};branch=z9hG4bK{self.here}-{self.cseq};rport",
            f"From: <sip:sbc@{self.here}>;tag=t{self.cseq}",
            f"To: <sip:rec@{host}>",
            f"Call-ID: {self.cseq}@{self.here}",
            f"CSeq: 1 {method}",
            "Max-Forwards: 70",
            f"Contact: <sip:sbc@{self.here}>;+sip.src",
            "Require: siprec",
            *lines,
            *([f"Content-Type: {kind}"] if body else []),
            f"Content-Length: {len(body)}",
        ]
        self.socket.sendall(("\r\n".join(head) + "\r\n\r\n").encode() + body)

    def hear(self) -> Response | None:
        """Return the next final answer, None at the end of the connection."""
        while True:
            answer = self._next()
            if answer is None or (isinstance(answer, Response) and answer.status >= 200):
                return answer

    def _next(self) -> Request | Response | None:
        while not self._heard:
            try:
                data = self.socket.recv(65_536)
            except (ConnectionError, ssl.SSLError):
                return None
            if not data:
                return None
            self._heard += [data] if self.transport == "UDP" else self._framer.feed(data)
        return parse(self._heard.pop(0))

    def invite(self, *lines: str, host: str = "rec.example") -> Response | None:
        """Offer a call and return the final answer to it."""
        self.say("INVITE", *lines, host=host, body=OFFER)
        return self.hear()
