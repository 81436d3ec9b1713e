"""What `--help` says fits the lines of a terminal, and every command shows how it is used."""

import re

import pytest

from recorder.cli.main import command


def helps(found, width, path=("recorder",), above=None):
    """Yield every command with its help at a width, in the order of the help."""
    context = found.make_context(path[-1], [], parent=above, resilient_parsing=True, terminal_width=width)
    yield " ".join(path), found.get_help(context)
    for name, below in getattr(found, "commands", {}).items():
        yield from helps(below, width, (*path, name), context)


HELPS = dict(helps(command(), 80))


def test_every_command_has_a_help():
    assert {"recorder", "recorder serve", "recorder node retire"} <= set(HELPS)


def summaries(text):
    return text.partition("\nCommands:\n")[2]


def examples(text):
    return [each.strip() for each in text.split("\n\n") if "Example: " in each] or ["none"]


FAULTS = {
    "a summary is cut": lambda text: "..." in summaries(text) or re.search(r"[^.]$", summaries(text), re.M),
    "a line is over 80 columns": lambda text: max(map(len, text.splitlines())) > 80,
    "no example in a paragraph of its own": lambda text: (
        not all(each.startswith("Example: recorder") for each in examples(text))
    ),
    "types of Python": lambda text: re.search(r"list\[| range>|[{}]|\[\[", text),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_no_help_has_this_fault(fault):
    assert [name for name, text in HELPS.items() if FAULTS[fault](text)] == []
