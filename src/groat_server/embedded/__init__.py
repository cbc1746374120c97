"""Groat's own PostgreSQL, for whoever has set no DATABASE_URL: `with hold(directory) as server: …`.

Here lives what starts, shares and ends that server, and nothing that speaks SQL to it. POSIX only (Linux, macOS). The
invariants are in this room's README.
"""

from groat_server.embedded.holder import Server, hold

__all__ = ["Server", "hold"]
