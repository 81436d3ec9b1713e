"""The tables of one customer's database, the same in SQLite and PostgreSQL; definitions only.

Columns in the clear hold random ids, times, states and counts. All personal data are in `sealed` columns: AES-256-GCM
under a leaf of the customer's key tree (the call's own leaf, or the one in the row's `leaf` column). Cutting the leaf
makes the row unreadable in every copy. Times are microseconds since 1970-01-01 UTC. No foreign key leads to
`calls`, because that table can be rebuilt from the vault, while holds, annotations, erasures, rules, waivers and users
exist only here and in the journal. A change here needs a migration; a test compares the two.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    text,
    true,
)

metadata = MetaData()

_NO_DIRECTION = text("direction IS NULL")
_HAS_SESSION = text("session IS NOT NULL")
_OF_HOLDERS = text("kind <> 'cut'")
_UNREMOVED = text("removed < 2")

about = Table(  # the customer that this database belongs to; another customer's file is refused
    "about", metadata, Column("customer", Text, primary_key=True), Column("created_at", BigInteger, nullable=False)
)

nodes = Table(  # the nodes that serve this database
    "nodes",
    metadata,
    Column("node", SmallInteger, primary_key=True, autoincrement=False),  # [node] number
    Column("label", Text, nullable=False),  # [node] name
    Column("tree", Text, nullable=False),  # fingerprint of the customer's key tree
    Column("instance", Text, nullable=False),  # random, of one boot of one machine
    Column("seen", BigInteger, nullable=False),  # when it last renewed the row, by the database clock; 0: given up
    Column("state", Text, nullable=False, server_default="active"),  # pending, active, draining, retired
    Column("epoch", BigInteger, nullable=False, server_default="0"),  # raised by each start, and by its retirement
    Column("indexed_until", BigInteger, nullable=False, server_default="0"),  # its calls that ended before are indexed
    Column("asked", BigInteger, nullable=False, server_default="0"),  # it waits until others have indexed up to here
    Column("seq", BigInteger, nullable=False, server_default="0"),  # number of its newest transaction
)

cuts = Table(  # the cuts that every holder of the keys makes, in order (storage.cuts)
    "cuts",
    metadata,
    Column("n", BigInteger, primary_key=True, autoincrement=False),  # from 1, without a gap
    Column("id", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),  # as in the line
    Column("line", LargeBinary, nullable=False),  # docs/formats/cuts.md
    Column("chain", LargeBinary, nullable=False),
    Column("removed", SmallInteger, nullable=False, server_default="0"),  # 1 after it was applied, 2 after all have
    Index("cuts_of_holders", "n", sqlite_where=_OF_HOLDERS, postgresql_where=_OF_HOLDERS),
    Index("cuts_unremoved", "n", sqlite_where=_UNREMOVED, postgresql_where=_UNREMOVED),
)

cut_erasures = Table(  # the lines of `cuts` that belong to an erasure; a line that comes back keeps its id
    "cut_erasures",
    metadata,
    Column("erasure", Text, nullable=False),
    Column("line", Text, nullable=False),  # its id
    PrimaryKeyConstraint("erasure", "line"),
)

cut_acknowledgements = Table(  # the last line that each holder has applied
    "cut_acknowledgements",
    metadata,
    Column("node", Text, primary_key=True),  # [node] name
    Column("n", BigInteger, nullable=False),
    Column("chain", LargeBinary, nullable=False),
    Column("tree", LargeBinary, nullable=False),
    Column("mac", LargeBinary, nullable=False),
)

job_leases = Table(  # the node that does a job for all nodes
    "job_leases",
    metadata,
    Column("job", Text, primary_key=True),
    Column("owner", SmallInteger, nullable=False),  # number of the node
    Column("until", BigInteger, nullable=False),  # by the clock of the database
)

shared_files = Table(  # tokens and accounts, where several nodes share them
    "shared_files",
    metadata,
    Column("name", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),  # sealed under a leaf that is never cut
)

page_sessions = Table(  # sessions of the web page, and counts of sign-in attempts (storage.access.shared_rows)
    "page_sessions",
    metadata,
    Column("key", LargeBinary, primary_key=True),  # keyed hash of a name that holds a secret
    Column("ends_at", BigInteger, nullable=False),  # by the clock of the database
    Column("content", LargeBinary, nullable=False),  # sealed under a key derived from that name
    Index("page_sessions_ends_at", "ends_at"),
)

audit_copies = Table(  # the audit log of every node, so that each can show all
    "audit_copies",
    metadata,
    Column("node", SmallInteger, nullable=False),
    Column("course", SmallInteger, nullable=False),  # raised each time the log goes on from an earlier entry
    Column("n", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),  # time of the entry
    Column("line", LargeBinary, nullable=False),
    Column("mark", LargeBinary),  # signed checkpoint of the entry; only the last entry of each copy run has one
    PrimaryKeyConstraint("node", "course", "n"),
    Index("audit_copies_at", "at", "node", "course", "n"),
)

calls = Table(  # one row for each recording; can be rebuilt from the vault
    "calls",
    metadata,
    Column("id", Text, primary_key=True),
    Column("leaf", BigInteger, nullable=False, unique=True),  # day << 32 | number
    Column("day", Integer, nullable=False),  # leaf >> 32, for the order and the day index
    Column("state", SmallInteger, nullable=False),  # 0 recording, 1 complete, 2 interrupted
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("duration_ms", BigInteger, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("hold", Boolean, nullable=False),  # whether the call has a row in holds; changed together with it
    Column("erase_after", BigInteger),
    Column("version", Integer, nullable=False),  # counts the writes of this row
    Column("sealed", LargeBinary, nullable=False),  # details and search forms, label "details"
    Column(
        "matched", Boolean, nullable=False, server_default=true()
    ),  # whether its parties have been matched with users
    Column("kept_from", BigInteger),  # when its retention period begins, if later than ended_at
    Column("direction", SmallInteger),  # 0 none known, 1 inbound, 2 outbound, 3 internal; null: not filled in yet
    Column("source", BigInteger),  # keyed hash of its source address (storage.calls.filter_columns)
    Column("node", SmallInteger, nullable=False, server_default="0"),  # number of the node that wrote it
    Column("session", BigInteger),  # keyed hash of the communication session, if several nodes may record it
    Index("calls_newest", "day", "started_at", "id"),
    Index("calls_state", "state", "day", "started_at", "id"),
    Index("calls_erase_after", "erase_after"),
    Index("calls_held", "day", "started_at", "id", sqlite_where=text("hold = 1"), postgresql_where=text("hold")),
    Index("calls_direction", "direction", "day", "started_at", "id"),
    Index("calls_source", "source", "day", "started_at", "id", "direction"),
    Index("calls_session", "session", sqlite_where=_HAS_SESSION, postgresql_where=_HAS_SESSION),
    Index("calls_untold", "leaf", sqlite_where=_NO_DIRECTION, postgresql_where=_NO_DIRECTION),
    Index("calls_unmatched", "leaf", sqlite_where=text("matched = 0"), postgresql_where=text("NOT matched")),
)

call_tokens = Table(  # search tokens; the key keeps one day's tokens together, so that inserts touch few pages
    "call_tokens",
    metadata,
    Column("day", Integer, nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("leaf", BigInteger, nullable=False),  # of the call
    PrimaryKeyConstraint("day", "token", "leaf"),
    sqlite_with_rowid=False,
)

days = Table(  # days that have calls, and the leaf whose "index" secret is the key of that day's tokens
    "days",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("leaf", BigInteger, nullable=False),
    Column("calls", Integer, nullable=False),
)

journal_mark = Table(  # the lines of each node's journal that this database contains
    "journal_mark",
    metadata,
    Column("node", SmallInteger, primary_key=True, autoincrement=False),  # [node] number
    Column("line", BigInteger, nullable=False),  # number of the newest line
    Column("label", Text, nullable=False, server_default=""),  # [node] name
    Column("known", BigInteger, nullable=False, server_default="0"),  # newest line that any node knows of
    Column("spare", BigInteger, nullable=False, server_default="0"),  # lines up to this one are no longer needed
    Column("place", BigInteger, nullable=False, server_default="0"),  # of its newest line, in the order of all lines
)

journal_rows = Table(  # the node whose journal has the newest state of a row, if several nodes each have a journal
    "journal_rows",
    metadata,
    Column("name", Text, nullable=False),  # of the table
    Column("key", Text, nullable=False),  # JSON: list of the primary key, or object of the values of a removal
    Column("place", BigInteger, nullable=False),  # position in the order of all lines
    Column("node", SmallInteger, nullable=False),
    PrimaryKeyConstraint("name", "key"),
    Index("journal_rows_node", "node"),
)

holds = Table(  # legal holds that are in force
    "holds",
    metadata,
    Column("call", Text, primary_key=True),
    Column("set_at", BigInteger, nullable=False),
    Column("set_by", Text, nullable=False),  # token or user name
    Column("leaf", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),  # reason
)

annotations = Table(  # corrections; the original stays unchanged (Art. 16 GDPR)
    "annotations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("call", Text, nullable=False, index=True),
    Column("leaf", BigInteger, nullable=False),  # the call's
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),  # text
)

attachments = Table(  # transcripts and chats; the files are sealed in the vault
    "attachments",
    metadata,
    Column("id", Text, primary_key=True),
    Column("call", Text, nullable=False, index=True),
    Column("leaf", BigInteger, nullable=False),  # the call's
    Column("kind", Text, nullable=False),  # transcript, chat, …
    Column("media_type", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),  # title, language, digest
)

erasures = Table(  # requests and retention sweeps; kept for ever, without personal data once done
    "erasures",
    metadata,
    Column("id", Text, primary_key=True),
    Column("state", Text, nullable=False, index=True),  # approval, running, waiting, done
    Column("cause", Text, nullable=False),  # request, or retention with the rule's id
    Column("requested_at", BigInteger, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("approved_at", BigInteger),
    Column("approved_by", Text),
    Column("done_at", BigInteger),
    Column("leaf", BigInteger),  # own leaf, cut when done
    Column("sealed", LargeBinary),  # party asked for and reason; null when done
    Column("receipt", LargeBinary),  # signed, see docs/formats
    Index("erasures_done", "state", "done_at", "id"),  # for lists of finished erasures, newest first
)

erasure_calls = Table(  # the calls of an erasure, each with its last step
    "erasure_calls",
    metadata,
    Column("erasure", Text, nullable=False),
    Column("call", Text, nullable=False, index=True),
    Column("leaf", BigInteger),  # null if the id was unknown
    Column("step", SmallInteger, nullable=False),  # 0 filed, then the steps of an erasure in order
    Column("session", BigInteger),  # the call's; calls that another node indexes later under it are erased too
    Index("erasure_calls_session", "session", sqlite_where=_HAS_SESSION, postgresql_where=_HAS_SESSION),
    PrimaryKeyConstraint("erasure", "call"),
)

exports = Table(  # requested exports; the file is sealed under the row's leaf
    "exports",
    metadata,
    Column("id", Text, primary_key=True),
    Column("state", Text, nullable=False),  # running, done, failed
    Column("format", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("size_bytes", BigInteger),
    Column("leaf", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),  # the request: calls or party, columns, reason
)

export_calls = Table(  # the calls in an export; if one is erased, the export is removed
    "export_calls",
    metadata,
    Column("export", Text, nullable=False),
    Column("call", Text, nullable=False, index=True),
    PrimaryKeyConstraint("export", "call"),
)

retention = Table(  # one row: the default, and whether the longest or shortest of several matching rules wins
    "retention",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),  # always 1
    Column("default_days", Integer),  # null: keep for ever
    Column("wins", Text, nullable=False),  # longest, shortest
    Column("changed_at", BigInteger, nullable=False),
    Column("changed_by", Text, nullable=False),
)

retention_rules = Table(  # rules in the order in which they were given
    "retention_rules",
    metadata,
    Column("id", Text, primary_key=True),
    Column("position", Integer, nullable=False),
    Column("days", Integer),  # null: keep for ever
    Column("direction", Text),
    Column("source", Text),  # address or network of SBCs
    Column("leaf", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),  # name and party of the rule
)

waivers = Table(  # signed permissions for immediate erasure; the newest counts, none is overwritten
    "waivers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("document_sha256", Text, nullable=False),
    Column("signed_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("put_at", BigInteger, nullable=False, index=True),
    Column("put_by", Text, nullable=False),
    Column("leaf", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),  # signed_by and scope
)

users = Table(  # directory users
    "users",
    metadata,
    Column("id", Text, primary_key=True),  # random, given by the recorder
    Column("state", Text, nullable=False),  # active, inactive
    Column("source", Text, nullable=False),  # entra, csv, api
    Column("source_key", LargeBinary, unique=True),  # keyed hash of the directory's object id
    Column("updated_at", BigInteger, nullable=False),
    Column("unmapped_at", BigInteger),
    Column("leaf", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),  # names, account, e-mail, UPN, numbers, object id
    Index("users_state", "state", "id"),
)

user_changes = Table(  # users that have changed, in order
    "user_changes",
    metadata,
    Column("n", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("user", Text, nullable=False),
    Column("open", Boolean, nullable=False),  # whether calls that the change may affect are still to be matched
    Index("user_changes_open", "open", "n"),
    sqlite_autoincrement=True,
)

matching = Table(  # one row: the position of the walk through all calls, newest first
    "matching",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),  # always 1
    Column("walk", BigInteger),  # calls with a smaller leaf are still to be matched; null: none
)

directories = Table(  # when each directory was first read, and when it was last read in full
    "directories",
    metadata,
    Column("source", Text, primary_key=True),  # entra, csv, api
    Column("first_at", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
)

column_sets = Table(  # stored selections of columns for exports
    "column_sets",
    metadata,
    Column("id", Text, primary_key=True),
    Column("changed_at", BigInteger, nullable=False),
    Column("changed_by", Text, nullable=False),
    Column("leaf", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),  # name and columns
)

requests = Table(  # requests of data subjects; kept for ever, without personal data once closed
    "requests",
    metadata,
    Column("id", Text, primary_key=True),
    Column("state", Text, nullable=False, index=True),  # open, confirmed, reporting, …
    Column("kinds", Text, nullable=False),  # access, erasure, portability, separated by commas
    Column("received_at", BigInteger, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False, index=True),
    Column("created_by", Text, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    Column("closed_at", BigInteger),
    Column("closed_by", Text),
    Column("ground", Text),  # why it was refused: one of a fixed list of words
    Column("export", Text, index=True),  # id of the newest report
    Column("erasure", Text),
    Column("noted", LargeBinary, nullable=False),  # JSON: ids, counts, digests, who, when
    Column("leaf", BigInteger),  # own leaf, cut when closed
    Column("sealed", LargeBinary),  # identities, user, reference, reason, selection; null when closed
)
