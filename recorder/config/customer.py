"""The customers as configured: one [[customer]] each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from recorder.config import readers as read
from recorder.config.readers import Network, Siprec, Srtp
from recorder.config.settings_fields import option, required


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """Whose calls are recorded. One table each.

    A call is a customer's if it comes from one of the sources, over a connection with one of the certificates, or, for
    a customer that has neither, to one of the domains, with a password (digest). Domains also tell customers behind one
    SBC apart. A call that is nobody's is refused with 403. What follows in a call counts only from its customer, too.
    """

    name: str = required(read.name, "Folder and part of API addresses: a-z, 0-9 and -. Never changes.", example="acme")
    sources: tuple[Network, ...] = option(
        read.each(read.network), (), "Addresses or networks of SBCs.", example=(read.network("192.0.2.0/24"),)
    )
    certificates: tuple[str, ...] = option(
        read.each(read.host_name),
        (),
        "Subject alternative names of SBC client certificates; needs a client_ca, of the customer or of [sip].",
    )
    client_ca: Path | None = option(
        read.absolute,
        None,
        "Authorities that issue this customer's certificates, PEM; by default those of [sip] client_ca. As soon as one "
        "customer has some of its own, each file must hold the very authorities that sign the SBCs' certificates.",
    )
    domains: tuple[str, ...] = option(
        read.each(read.host_name),
        (),
        "Host part of the Request-URI; alone, without sources or certificates, only with digest.",
    )
    country: str | None = option(
        read.country, None, "How national numbers are read; without it they stay as sent.", example="DE"
    )
    extension_digits: int = option(
        read.whole(0, 8, "digits"),
        0,
        "So many last digits of the users' numbers are their extensions, by which calls inside the house name them; "
        "0: only what the directory gives as an extension is one.",
    )
    purge_users: bool = option(
        read.boolean,
        False,
        "A user whom the directory has no more goes by itself once no recording refers to it any more.",
    )
    retention_days: int = option(
        read.whole(1, 36_500, "days"), 180, "Default rule: calls are erased then. More rules through the API."
    )
    approve_erasures: bool = option(
        read.boolean, False, "A second person, with the role approver, has to approve every request for erasure."
    )
    max_calls: int = option(
        read.whole(0, 100_000, "calls"), 0, "Calls recorded at once for this customer; 0 = as many as [sip] max_calls."
    )
    max_invites: int = option(
        read.whole(0, 100_000, "INVITEs a second"),
        0,
        "INVITEs a second for this customer from all its addresses together; 0 = no limit but that of each address.",
    )
    srtp: Srtp | None = option(read.one_of(Srtp), None, "Overrides [media] srtp for this customer.")
    siprec: Siprec = option(
        read.one_of(Siprec),
        Siprec.TOLERANT,
        "What an INVITE must carry. tolerant: any mark of a recording session; strict: Require: siprec and +sip.src, "
        "as RFC 7866 has it; plain: nothing, for devices that record without SIPREC.",
    )
    late_offer: bool = option(
        read.boolean, False, "Answer an INVITE without SDP by an offer of ours, as Cisco's built-in bridge wants it."
    )
    sdes_without_tls: bool = option(
        read.boolean, True, "Take SRTP keys (a=crypto) that came over UDP or TCP, where others may have read them."
    )
    dtls: bool = option(
        read.boolean,
        True,
        "Take lines whose SRTP keys come from a handshake on the media ports (DTLS-SRTP); false: they are refused.",
    )
    pause_by_reinvite: bool = option(
        read.boolean,
        False,
        "Tell the client of a pause by a re-INVITE, so that it stops sending; not every client survives one. "
        "What comes during a pause is thrown away in any case. By a re-INVITE it is also asked for another DTLS "
        "handshake where the death of a process cut one short.",
    )
    swap_owners: bool = option(
        read.boolean,
        False,
        "Exchange the owners of the two streams of a medium: this SBC names them the wrong way round, as jambonz with "
        "rtpengine does. Listen to a test call first (recorder check-owners). It counts for calls that begin after a "
        "restart.",
    )
    digest: Path | None = option(
        read.absolute,
        None,
        "File of users, lines user:realm:HA1 with MD5 or SHA-256 (htdigest): INVITEs and what follows "
        "in a call must then authenticate. Most clients cannot; sources and certificates are the usual way.",
    )
    learn_source: bool = option(
        read.boolean,
        True,
        "Take encrypted media from the address of the first genuine packet, as behind NAT; "
        "false: only from the address that was offered.",
    )
