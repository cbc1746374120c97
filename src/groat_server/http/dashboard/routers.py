"""All routes of the dashboard."""

from __future__ import annotations

from groat_server.http.dashboard import checks, events, exports, login, static, usage

ROUTERS = (
    static.router,
    login.router,
    login.signed_in,
    login.sessions,
    exports.router,
    usage.router,
    events.router,
    checks.router,
)
