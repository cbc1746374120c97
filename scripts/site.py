"""Builds the documentation's site into site/: `python -m scripts.site`, or `make docs`.

The pages are those that a reader finds in the repository: docs/, and some that stand elsewhere. They are copied to
.site/, where links between them are made to lead to each other, and built strictly: a link that leads nowhere fails,
and so does a page that would load anything from another host.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
ELSEWHERE = {
    "CHANGELOG.md": "project/changes.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "STYLE.md": "project/style.md",
    "README.md": "index.md",
    "benchmarks/README.md": "project/benchmarks.md",
    "client/README.md": "project/client.md",
    "src/groat_server/embedded/README.md": "project/embedded.md",
}
"""Pages of the repository outside docs/, and where they stand in the site. README's place is taken by docs/index.md."""

_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")
_LOADS = {"src", "srcset", "poster", "data", "action"}
_CSS_LOAD = re.compile(r"""(?:url\(\s*["']?|@import\s+["'])((?:https?:)?//[^"')\s]+)""")
_ABSOLUTE = re.compile(r"(?:^|[\s,])((?:https?:)?//\S+)")


class BrokenSite(Exception):
    """The site cannot be published: the message says why."""


def build(root: Path = ROOT) -> Path:
    """Build the site of the repository in `root`; returns its directory. Raises BrokenSite."""
    stage(root)
    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--clean", "--strict", "--config-file", ".site/zensical.toml"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BrokenSite(f"{done.stdout}\n{done.stderr}")
    site = root / ".site/site"
    faults = [*missing_pages(root, site), *external_loads(site), *missing_files(site)]
    if faults:
        raise BrokenSite("\n".join(faults))
    shutil.rmtree(root / "site", ignore_errors=True)
    return site.rename(root / "site")


def stage(root: Path) -> None:
    """Copy the pages to .site/docs, with links that hold there."""
    staged = root / ".site" / "docs"
    shutil.rmtree(staged, ignore_errors=True)
    shutil.copytree(root / "docs", staged)
    places = {path.relative_to(root): path.relative_to(root / "docs") for path in (root / "docs").rglob("*.md")}
    places |= {Path(source): Path(place) for source, place in ELSEWHERE.items()}
    (root / ".site/zensical.toml").write_text(_configuration(root), encoding="utf-8")
    for source, place in places.items():
        if source == Path("README.md"):
            continue
        (staged / place).parent.mkdir(parents=True, exist_ok=True)
        text = (root / source).read_text("utf-8")
        (staged / place).write_text(_outside_code(text, root, source, places), encoding="utf-8")


def _configuration(root: Path) -> str:
    """Return the site's configuration with the pages that each `folder/*` of the navigation stands for."""

    def listed(match: re.Match[str]) -> str:
        pages = (path.relative_to(root / "docs").as_posix() for path in sorted((root / "docs").glob(match[1])))
        return ", ".join(f'"{page}"' for page in pages if not page.endswith("README.md"))

    return re.sub(r'"([\w/]+/\*)"', listed, (root / "zensical.toml").read_text("utf-8"))


def _outside_code(text: str, root: Path, source: Path, places: dict[Path, Path]) -> str:
    """Return a page's text with its links moved; blocks of code stay as they are."""
    parts = re.split(f"({_FENCE.pattern})", text, flags=_FENCE.flags)
    return "".join(part if part.startswith("```") else _moved(part, root, source, places) for part in parts)


def _moved(text: str, root: Path, source: Path, places: dict[Path, Path]) -> str:
    """Return prose whose relative links hold at the page's new place."""

    def move(match: re.Match[str]) -> str:
        before, target, after = match.groups()
        if re.match(r"[a-z]+:", target):
            return match[0]
        named = Path(os.path.normpath(root / source.parent / target)).relative_to(root)
        place = places.get(named)
        if place is None and named.parts[0] == "docs":
            place = named.relative_to("docs")
        if place is None:
            place = _copied(root, named)
        return f"{before}{os.path.relpath(place, places[source].parent)}{after}"

    return _LINK.sub(move, text)


def _copied(root: Path, named: Path) -> Path:
    """Copy a file that is no page into the site, as text; returns its place."""
    if not (root / named).is_file():
        raise BrokenSite(f"{named} is linked to and is no file")
    place = Path("files") / f"{named.name}.txt"
    (root / ".site/docs/files").mkdir(exist_ok=True)
    shutil.copyfile(root / named, root / ".site" / "docs" / place)
    return place


def missing_pages(root: Path, site: Path) -> Iterator[str]:
    """Yield what is in the navigation and was not built, and pages that it does not lead to."""
    navigation = set(_pages(tomllib.loads((root / ".site/zensical.toml").read_text("utf-8"))["project"]["nav"]))
    staged = {path.relative_to(root / ".site/docs").as_posix() for path in (root / ".site/docs").rglob("*.md")}
    for page in sorted(navigation - staged):
        yield f"{page} is in the navigation and does not exist"
    for page in sorted(staged - navigation):
        yield f"{page} is not in the navigation of zensical.toml"
    for page in sorted(staged):
        built = site / re.sub(r"README\.html$", "index.html", f"{page.removesuffix('.md')}.html")
        if not built.exists():
            yield f"{page} was not built"


def _pages(entries: object) -> Iterator[str]:
    if isinstance(entries, str):
        yield entries
    elif isinstance(entries, dict):
        for entry in entries.values():
            yield from _pages(entry)
    elif isinstance(entries, list):
        for entry in entries:
            yield from _pages(entry)


def external_loads(site: Path) -> Iterator[str]:
    """Yield what pages, style sheets and pictures of a site would load from another host. Links to follow are none."""
    for path in sorted(site.rglob("*")):
        if path.suffix in {".html", ".svg", ".css"}:
            text = path.read_text("utf-8")
            found = list(_CSS_LOAD.findall(text))
            if path.suffix != ".css":
                reader = _Loads()
                reader.feed(text)
                found += reader.found
            yield from (f"{path.relative_to(site)} loads {address}" for address in found)


def missing_files(site: Path) -> Iterator[str]:
    """Yield what pages of a site show or link to, pictures among it, and the site does not have."""
    for path in sorted(site.rglob("*.html")):
        reader = _Loads()
        reader.feed(path.read_text("utf-8"))
        for target in sorted(reader.named):
            address = urlsplit(target)
            if address.scheme or address.netloc or not address.path or path.name == "404.html":
                continue  # the page of what was not found names files from the root, wherever that will be
            if not (path.parent / unquote(address.path)).exists():
                yield f"{path.relative_to(site)} names {target}, which is not there"


class _Loads(HTMLParser):
    """Collects the addresses from which a page's elements are loaded, and all that it names."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.named: set[str] = set()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note what this element loads."""
        for name, value in attributes:
            followed = tag == "a" and name in {"href", "xlink:href"}
            loads = name in _LOADS or (name in {"href", "xlink:href"} and not followed)
            if value and name in {"href", "src"}:
                self.named.add(value)
            if loads and value:
                self.found += _ABSOLUTE.findall(value)


def main() -> None:
    """Build it, or say what is wrong."""
    try:
        site = build()
    except BrokenSite as broken:
        sys.exit(str(broken))
    pages = sum(1 for _ in site.rglob("*.html"))
    print(f"{pages} pages in {site.relative_to(ROOT)}/")


if __name__ == "__main__":
    main()
