"""All routes of the dashboard."""

from __future__ import annotations

from groat_server.http.dashboard import (
    acts,
    alerts,
    audit,
    checks,
    event,
    events,
    exports,
    live,
    login,
    prices,
    reports,
    static,
    tokens,
    usage,
    user,
    users,
)

ROUTERS = (
    static.router,
    login.router,
    login.signed_in,
    login.sessions,
    exports.router,
    usage.router,
    events.router,
    checks.router,
    alerts.router,
    prices.router,
    prices.acts,
    tokens.router,
    audit.router,
    reports.router,
    live.router,
    acts.grants,
    acts.administration,
    users.router,
    user.router,
    event.router,
)
