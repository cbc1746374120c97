"""Renders docs/cli.md from the command line's own help: every command with its arguments and flags.

`make reference` writes it; a test says whether it is current.
"""

from __future__ import annotations

import re
import sys
from unittest.mock import patch

from groat_server.cli import app

_HEAD = """\
<!-- Written by `make reference` from the command line's own help. Do not edit. -->

# Command line

Every command of `groat`, as its `--help` says it. In a clone it is `.venv/bin/groat`. `--json` and `--csv` are for
programs; without them the output is for people, and may change. `NO_COLOR` turns colours off.

Exit codes: 0 done, 1 refused or a check failed, 2 the command line makes no sense, 3 not enough credits, 130
interrupted.
What the commands are for: [operations](operations.md), the [monitoring guide](guide.md), the [tutorial](tutorial.md).
"""


def render() -> str:
    """Return the page's text."""
    with patch.object(sys, "argv", ["groat"]):  # usages of commands in groups begin with the program that runs
        text = app.generate_docs()
    commands = text[text.index("\n## groat ") + 1 :]
    commands = commands.replace("```console\n", "```text\n")
    commands = re.sub(r" ?\*\[default: (?:False|None)\]\*", "", commands)
    commands = re.sub(r"^\* `[^`]+`", lambda flags: flags[0].replace(", ", "`, `"), commands, flags=re.MULTILINE)
    commands = re.sub(r"^(\* `.+`):\s*$", r"\1", commands, flags=re.MULTILINE)
    commands = re.sub(r"\n{3,}", "\n\n", commands).rstrip()
    return f"{_HEAD}\n{_contents(commands)}\n\n{commands}\n"


def _contents(commands: str) -> str:
    """Return a list of the commands, each with its link and its first sentence."""
    sections = re.findall(r"^## (groat [\w-]+)\n\n(?:```text\n[^`]*```\n\n)?(.+)$", commands, re.MULTILINE)
    return "\n".join(f"- [`{name}`](#{name.replace(' ', '-')}): {text}" for name, text in sections)
