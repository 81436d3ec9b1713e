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


@pytest.mark.parametrize("name", HELPS)
def test_a_help_fits_80_columns_and_cuts_no_summary(name):
    _, _, summaries = HELPS[name].partition("\nCommands:\n")
    assert all(line.endswith(".") for line in summaries.splitlines())
    assert "..." not in summaries
    assert max(map(len, HELPS[name].splitlines())) <= 80


@pytest.mark.parametrize("name", HELPS)
def test_a_help_has_an_example_in_a_paragraph_of_its_own(name):
    paragraphs = HELPS[name].split("\n\n")
    examples = [each for each in paragraphs if "Example: " in each]
    assert examples
    assert all(each.strip().startswith("Example: recorder") for each in examples)


@pytest.mark.parametrize("name", HELPS)
def test_a_help_names_parameters_without_the_types_of_python(name):
    assert not re.search(r"list\[| range>|[{}]|\[\[", HELPS[name])
