"""Fetch what the dashboard takes from npm: `python -m scripts.vendor` (needs npm; who only runs Groat needs neither).

`scripts/vendor.toml` says which files of which versions; `scripts/vendor.lock` has the SHA-256 of each. A file that
does not have it is not written, unless `--lock` says that the lock is to be made anew.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIST = ROOT / "scripts" / "vendor.toml"
LOCK = ROOT / "scripts" / "vendor.lock"


def wanted() -> list[dict[str, str]]:
    """Return what is listed: package, version, licence, where from, where to."""
    files: list[dict[str, str]] = tomllib.loads(LIST.read_text("utf-8"))["file"]
    return files


def locked() -> dict[str, str]:
    """Return the SHA-256 of each file by its path, as sha256sum writes them."""
    lines = LOCK.read_text("utf-8").splitlines()
    return {path: digest for digest, _, path in (line.partition("  ") for line in lines)}


def sha256(content: bytes) -> str:
    """Return a content's SHA-256, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def main(*, lock_anew: bool) -> None:
    """Fetch all files and compare them with the lock, or make the lock."""
    with tempfile.TemporaryDirectory() as folder:
        contents = {
            file["to"]: _extract(_pack(file["package"], file["version"], folder), file["from"]) for file in wanted()
        }
    if lock_anew:
        LOCK.write_text("".join(f"{sha256(content)}  {path}\n" for path, content in contents.items()), "utf-8")
    expected = locked()
    wrong = [path for path, content in contents.items() if expected.get(path) != sha256(content)]
    if wrong:
        sys.exit(f"Not as the lock says: {', '.join(wrong)}")
    for path, content in contents.items():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_bytes(content)


@cache
def _pack(package: str, version: str, folder: str) -> Path:
    command = ["npm", "pack", "--silent", "--pack-destination", folder, f"{package}@{version}"]
    name = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    return Path(folder) / name


def _extract(archive: Path, name: str) -> bytes:
    with tarfile.open(archive) as opened:
        member = opened.extractfile(f"package/{name}")
        if member is None:
            raise FileNotFoundError(name)
        return member.read()


if __name__ == "__main__":
    main(lock_anew="--lock" in sys.argv[1:])
