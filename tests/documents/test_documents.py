"""What documents say of the source and of the command line is there, and every block of commands is run by a test."""

from __future__ import annotations

import re
from pathlib import Path

from recorder.cli import manual
from tests.daemon.documents import blocks, commands

HERE = Path(__file__).parents[2]
DOCUMENTS = [HERE / "ARCHITECTURE.md", HERE / "CONTRIBUTING.md", *sorted((HERE / "docs").rglob("*.md"))]
FILE = re.compile(r"(?<![\w./-])(?:recorder|sip|media|storage|admin_api|tests|bench)/[\w./-]*\.(?:py|c|toml|md|html)\b")


def test_files_that_a_document_names_exist() -> None:
    named = [(document, path) for document in DOCUMENTS for path in FILE.findall(document.read_text(encoding="utf-8"))]
    assert [each for each in named if not (HERE / each[1]).is_file() and "NAME" not in each[1]] == []


LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")


def test_links_lead_somewhere() -> None:
    lost = []
    for document in DOCUMENTS:
        for file, anchor in LINK.findall(document.read_text(encoding="utf-8")):
            target = document.parent / file if file else document
            if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
                lost.append(f"{document}: {file}#{anchor}")
    assert lost == []


def anchors(document: Path) -> set[str]:
    """Return the anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.M)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


ALL = [str(path.relative_to(HERE)) for path in [HERE / "README.md", *DOCUMENTS]]
RUN = {"docs/cluster.md", "docs/install.md", "docs/operations.md", "docs/postgresql.md"}
"""Documents whose commands are run in their order, by tests beside this one and by tests/test_debian_package.py."""
NOT_RUN = {
    "README.md": "make demo, which tests/journeys/commands runs",
    "CONTRIBUTING.md": "setting up a checkout",
    "docs/api.md": "examples of requests; tests/admin_api has each of them",
    "docs/entra.md": "needs a tenant of Microsoft's",
    "docs/sbc.md": "needs an SBC",
    "docs/interop/jambonz.md": "needs jambonz",
}


def test_every_document_with_commands_is_run_or_says_why_not() -> None:
    assert {document for document in ALL if blocks(document)} == RUN | set(NOT_RUN)


def test_the_commands_of_a_document_exist_with_their_options() -> None:
    said = [(document, *each) for document in ALL for each in commands(document)]
    assert [f"{document}: {line}: {fault}" for document, line, words in said if (fault := fault_of(words))] == []


COMMANDS = manual.commands()
OWN = {"init": {"--customer", "--json"}, "restart": set(), "reload": {"--json"}}
"""What recorderctl itself does, with its options; everything else is a command of recorder."""


def fault_of(words: list[str]) -> str | None:
    """Return what the command line would not understand of a command."""
    if words[0] == "recorderctl" and words[1] in OWN:
        unknown = [word for word in words[2:] if word.startswith("-") and word not in OWN[words[1]]]
        return f"recorderctl {words[1]} has no option {unknown[0]}" if unknown else None
    found = COMMANDS
    for word in words[1:]:
        if word.startswith("-"):
            name = word.partition("=")[0]
            if name not in {each for parameter in found.parameters for each in parameter.names}:
                return f"{' '.join(found.path)} has no option {name}"
        elif found.commands:
            if word.isupper() or word == "…":  # COMMAND: any of them
                return None
            below = {each.path[-1]: each for each in found.commands}
            if word not in below:
                return f"{' '.join(found.path)} has no command {word}"
            found = below[word]
    return None
