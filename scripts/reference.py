"""Writes the reference pages from the code: `python -m scripts.reference`, or `make reference`."""

from __future__ import annotations

from pathlib import Path

from scripts import cli_reference, openapi_reference

PAGES = {"docs/api.md": openapi_reference.render, "docs/cli.md": cli_reference.render}
ROOT = Path(__file__).parents[1]


def main() -> None:
    """Write every page."""
    for page, render in PAGES.items():
        (ROOT / page).write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main()
