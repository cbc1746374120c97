"""All routes of the dashboard."""

from __future__ import annotations

from groat_server.http.dashboard import exports, login, static

ROUTERS = (static.router, login.router, login.signed_in, login.sessions, exports.router)
