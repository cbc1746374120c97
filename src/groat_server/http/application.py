"""The application that a web server runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi_offline import FastAPIOffline

from groat_server import __version__
from groat_server.http import (
    admin_audit,
    admin_checks,
    admin_credits,
    admin_ledger,
    admin_reports,
    admin_tokens,
    admin_users,
    holds,
    me,
    probes,
    problems,
    sheets,
    statements,
    usage,
)
from groat_server.http.dashboard import routers as dashboard
from groat_server.http.hot.routes import HotRoutes
from groat_server.http.middleware import Envelope

if TYPE_CHECKING:
    from fastapi import FastAPI

    from groat_server.http.service import Service

_DESCRIPTION = "The credit ledger and monitor for AI applications: charge usage exactly once, and see who used what."


def create_server(service: Service) -> HotRoutes:
    """Return what a web server runs: the hot routes in front of the application."""
    app = create_app(service)
    return HotRoutes(app, app.state, service.gauges)


def create_app(service: Service) -> FastAPI:
    """Return the ASGI application of a service, which serves every route."""
    app = FastAPIOffline(
        redoc_url=None,
        title="Groat",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=service.lifespan,
        redirect_slashes=False,  # a redirect would name the host that the request claims, and repeat its path
        separate_input_output_schemas=False,
    )
    app.state.service = service
    for router in (
        usage.router,
        usage.batches,
        usage.estimates,
        holds.router,
        admin_credits.router,
        admin_reports.router,
        admin_checks.router,
        statements.router,
        admin_users.router,
        admin_users.balances,
        admin_ledger.router,
        admin_ledger.voids,
        admin_ledger.balances,
        admin_ledger.explanations,
        admin_tokens.router,
        admin_audit.router,
        me.router,
    ):
        app.include_router(router)
    app.include_router(sheets.router)
    app.include_router(probes.router)
    for router in dashboard.ROUTERS:
        app.include_router(router)
    problems.install(app)
    app.add_middleware(Envelope, gauges=service.gauges)
    _describe_problems(app)
    return app


def _describe_problems(app: FastAPI) -> None:
    described = app.openapi

    def openapi() -> dict[str, Any]:
        document = described()
        problems.describe(document)
        return document

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's documented way to extend the document
