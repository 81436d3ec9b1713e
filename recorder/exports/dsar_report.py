"""Make the report of a subject request: a zip with a page, tables, media and the user record.

    count, size, facts = await SubjectReport(customer, export, tools).run()

The zip is sealed, and encrypted if requested. It is written sequentially into the sealed file of an export
(recorder.exports.export_job). So it survives a restart, can be cancelled, expires, and is deleted with the first erased
call, as exports are. `facts` stay in the request: ids, and the digest of the file that is handed over.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from admin_api.calls import call_views
from recorder.exports.dsar_data import CallFacts, because, call, head, seen, user_record
from recorder.exports.dsar_page import page, words
from recorder.exports.media_zip import MIXED, Added, Archive, add_media
from recorder.exports.render_client import Renderer
from storage import search_forms
from storage.calls.call_index import CallRow
from storage.customer.customers import Customer
from storage.directory.user import User
from storage.exports import columns, table_writers
from storage.exports.exports import Export, Gone, Request
from storage.keys import age
from storage.retention.policy import Decision, judge
from storage.subject_requests.case_rows import Case

UNDECIDED = "Left out: several people of this call may be this person, and nobody confirmed which."
LOOK = 100  # calls without media between two checks whether the report is still wanted
_COLUMNS = (*columns.usual(True), "hold")
_OTHERS = ("other_role", "other_name", "other_number", "other_uri")
_FILE = "file"  # the last column: where the media are


@dataclass(frozen=True, slots=True)
class ReportDependencies:
    """What a report is made with."""

    renderer: Renderer
    """Renders media."""
    room: Callable[[], None]
    """Raises NoSpace while the disk is short of space."""


class Out(Protocol):
    """Receives the bytes of the zip."""

    def write(self, data: bytes, /) -> int: ...
    def flush(self) -> None: ...


class Digest:
    """Passes bytes on and computes their SHA-256."""

    def __init__(self, out: Out) -> None:
        self._out = out
        self._sum = hashlib.sha256()

    def write(self, data: bytes) -> int:
        """Take bytes."""
        self._sum.update(data)
        return self._out.write(data)

    def flush(self) -> None:
        """Do nothing: the next writer does not buffer."""

    def hex(self) -> str:
        """Return the digest of everything so far."""
        return self._sum.hexdigest()


class SubjectReport:
    """One report in progress."""

    def __init__(self, customer: Customer, export: Export, tools: ReportDependencies) -> None:
        """Raises Gone if the report is no longer wanted."""
        if export.request is None or export.case is None:
            raise Gone("the report is no longer wanted")
        self._customer = customer
        self._export = export
        self._tools = tools
        self._asked: Request = export.request
        self._rows: list[CallRow] = []
        self._calls: list[dict[str, Any]] = []
        self._added: list[Added] = []
        self._mine: dict[str, Sequence[int]] = {}  # the participants of each call that are the person

    async def run(self) -> tuple[int, int, dict[str, Any]]:
        """Write the file; return how many calls it holds, its bytes, and its facts. Raises Gone, NoSpace."""
        case = await self._customer.requests.get(self._export.case or "")
        if case is None or case.asked is None:
            raise Gone("the request is over")
        with self._customer.exports.sink(self._export, self._tools.room) as sink:
            digest = Digest(sink)
            encrypter = await asyncio.to_thread(self._encrypter, digest)
            archive = Archive(encrypter or digest, listing=False)
            await self._fill(archive, case)
            await asyncio.to_thread(archive.close)
            if encrypter is not None:
                await asyncio.to_thread(encrypter.close)
            size = await asyncio.to_thread(sink.finish)
        return len(self._rows), size, self._facts(digest.hex())

    def _encrypter(self, out: Digest) -> age.Encrypter | None:
        if self._asked.recipient is not None:
            return age.Encrypter(out.write, recipient=age.parse(self._asked.recipient))
        return age.Encrypter(out.write, passphrase=self._asked.passphrase) if self._asked.passphrase else None

    async def _fill(self, archive: Archive, case: Case) -> None:
        """Write every file: media first, since the tables report what became of them."""
        ids = list(case.selection.inside)
        user = await self._customer.users.get(case.asked.user) if case.asked and case.asked.user else None
        fit = await self._customer.exports.admit(self._export.id, [*ids, *([user.id] if user else [])])
        policy, stored = await self._customer.rules.policy(), await self._customer.rules.get()
        for number, id in enumerate(ids):
            if self._asked.media is not None or number % LOOK == 0:
                await self._customer.exports.admit(self._export.id, [])  # is it still wanted?
            row = await self._customer.calls.get(id) if id in fit else None
            if row is not None:
                parties = self._mine[id] = await self._chosen(case, row)
                forms = search_forms.stored_of(row.details.get("parties") or (), self._customer.settings.country)
                decision = judge(row, forms, policy, self._customer.now(), held=row.hold)
                facts = await self._facts_of(archive, row, parties, decision)
                self._rows.append(row)
                self._calls.append(call(row, facts, user, others=self._asked.other_parties))
                because(self._calls[-1], decision, stored)
            self._customer.exports.progress[self._export.id] = (len(self._rows), len(ids))
        await self._tables(archive, case, user)

    async def _chosen(self, case: Case, row: CallRow) -> Sequence[int]:
        """Return the confirmed participants; for a call that was live then, only those who are still the person.

        A client that replaces a placeholder by a real participant shifts the positions of those that follow.
        """
        parties = case.selection.inside[row.id]
        if case.asked is None or (row.ended_at is not None and row.ended_at <= case.created_at):
            return parties
        now = await self._customer.candidates.parties(case.asked, row)
        return tuple(number for number in parties if number in now)

    async def _facts_of(self, archive: Archive, row: CallRow, parties: Sequence[int], decision: Decision) -> CallFacts:
        """Find what is known about a call in addition to its row, and write its files."""
        media = Added(row.id, None, None)
        if self._asked.media is not None and self._asked.silence_others and not parties:
            media = Added(row.id, None, UNDECIDED)
            self._added.append(media)
        elif self._asked.media is not None:
            whose = (lambda _: parties) if self._asked.silence_others else None
            named = None if self._asked.other_parties else lambda _: parties
            form, renderer = self._asked.media, self._tools.renderer
            media = await add_media(archive, self._customer, row.id, form, renderer, whose, named)
            self._added.append(media)
        hold = await self._customer.holds.get(row.id) if row.hold else None
        notes = [call_views.annotation(note) for note in await self._customer.annotations.of(row.id)]
        held_since = None if hold is None else hold.set_at
        files = await self._attachments(archive, row.id)
        return CallFacts(parties, decision, held_since, media.file, media.problem, notes, files)

    async def _attachments(self, archive: Archive, call: str) -> list[dict[str, Any]]:
        """Describe transcripts and chats; they are in the zip if others may be named."""
        found = []
        for one in await self._customer.attachments.of(call):
            ending = "vtt" if one.media_type == "text/vtt" else "json"
            name = f"attachments/{one.id}.{ending}"
            if self._asked.other_parties:
                await asyncio.to_thread(archive.write, name, await self._customer.attachments.read(one))
            found.append({**call_views.attachment(one), "file": name})
        return found

    async def _tables(self, archive: Archive, case: Case, user: User | None) -> None:
        """Write the user record, who accessed what, the tables and the page."""
        shown = await self._seen(user)
        for each in self._calls:
            each["seen"] = shown.get(each["id"], [])
        top = head(case, self._customer.name, self._customer.now())
        record = None if user is None else user_record(user, shown.get(user.id, []))
        await asyncio.to_thread(self._write, archive, case, top, record)

    def _write(self, archive: Archive, case: Case, top: Mapping[str, Any], record: Mapping[str, Any] | None) -> None:
        """Write what is known by now, outside the event loop: for thousands of calls it takes a second."""
        if record is not None:
            archive.write("user.json", _json(record))
        archive.write("calls.json", _json({**top, "user": record, "calls": self._calls}))
        self._spreadsheet(archive)
        shown = {**top, "customer": self._customer.title}
        archive.write("report.html", page(shown, self._calls, record, words(self._customer.settings.country)))

    async def _seen(self, user: User | None) -> dict[str, list[dict[str, Any]]]:
        """Find in the audit log who accessed the calls and the user, including exports that contain them."""
        held = self._customer.exports
        of = {id: {id} for id in (*(row.id for row in self._rows), *([user.id] if user is not None else []))}
        for export, objects in (await held.holding(of)).items():
            made = await held.get(export)
            if made is not None and made.case != self._export.case:  # reports are downloaded by the id of their request
                of.setdefault(made.case or export, set()).update(objects)
        copies = self._customer.audit_copies
        if copies is not None:  # those of all nodes
            return seen(await copies.about(of), of)
        return seen(await asyncio.to_thread(self._customer.audit.about, of), of)

    def _spreadsheet(self, archive: Archive) -> None:
        """Write calls.xlsx."""
        names = (*_COLUMNS, *(_OTHERS if self._asked.other_parties else ()))
        chosen = columns.named(names)
        out = os.memfd_create("report", os.MFD_CLOEXEC)
        try:
            with os.fdopen(os.dup(out), "w+b") as file:
                table = table_writers.XlsxTable(file, (*names, _FILE))
                for row, each in zip(self._rows, self._calls, strict=True):
                    values = columns.values(chosen, call_views.call(row, None), self._mine[row.id])
                    table.add([[*values, each["media"]["file"]]])
                table.close()
            archive.add("calls.xlsx", out, packed=False)
        finally:
            os.close(out)

    def _facts(self, digest: str) -> dict[str, Any]:
        return {
            "sha256": digest,
            "calls": [row.id for row in self._rows],
            "not_separable": [each.call for each in self._added if (each.problem or "").startswith(MIXED)],
            "without_media": [{"call": each.call, "problem": each.problem} for each in self._added if not each.file],
        }


def _json(document: Mapping[str, Any]) -> bytes:
    """Write a document; lone surrogates, which UTF-8 cannot carry, become U+FFFD."""
    text = json.dumps(document, ensure_ascii=False, indent=1)
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()
