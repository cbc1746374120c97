"""`groat grafana export`: what it asks for is really there. Grafana itself is not run here."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx2
import psycopg
import pytest
import yaml  # type: ignore[import-untyped] # there are no types of it here
from prometheus_client import CollectorRegistry

from groat_server.grafana.alerts import TOLD_ELSEWHERE, alerts, grafana_rules, prometheus_rules
from groat_server.grafana.dashboard import ROWS, Panel
from groat_server.http.metrics import Gauges
from groat_server.migrations import let_reader_in
from groat_server.operations.checks import CHECKS
from tests.conftest import fresh_ledger
from tests.operations.eventful import make_eventful
from tests.operations.ledgers import connect, rows
from tests.operations.test_service_role import _role
from tests.services import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from groat_server.database import Address
    from groat_server.embedded import Server
    from tests.cli.conftest import Groat

_NAME = re.compile(r"\b(groat_\w+|up)\b(?=\{)")
_LABELS = re.compile(r"(\w+)(?:=~|!~|!=|=)\"")
_BY = re.compile(r"\bby \((\w+(?:, \w+)*)\)")
_PROMETHEUS_OWN = {"job", "instance", "le"}
_SQL = [(row, panel) for row, panels in ROWS for panel in panels if panel.sql]
ALERTS = alerts(service="groat", quiet_minutes=30)


@pytest.fixture(scope="module")
def eventful(server: Server, template: str) -> Iterator[Address]:
    """Lend a ledger in which everything has happened."""
    with fresh_ledger(server, template) as address:
        with connect(address) as connection:
            make_eventful(connection)
            rows(connection, "ANALYZE")
        yield address


@pytest.fixture(scope="module")
def made(groat: Groat, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the files; returns their directory."""
    directory = tmp_path_factory.mktemp("grafana")
    told = groat("grafana", "export", "--dir", str(directory), "--job", "credits", "--quiet-minutes", "45")
    assert told.code == 0, told.err
    return directory


def files(directory: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Read the dashboard, Grafana's rules and Prometheus's."""
    return (
        json.loads((directory / "dashboards/groat.json").read_text()),
        yaml.safe_load((directory / "alerting/groat.yaml").read_text()),
        yaml.safe_load((directory / "prometheus/groat.rules.yml").read_text()),
    )


def test_three_files_are_written_and_again_the_same(groat: Groat, made: Path) -> None:
    names = sorted(str(path.relative_to(made)) for path in made.rglob("*") if path.is_file())
    assert names == ["alerting/groat.yaml", "dashboards/groat.json", "prometheus/groat.rules.yml"]
    before = files(made)
    assert groat("grafana", "export", "--dir", str(made), "--job", "credits", "--quiet-minutes", "45").code == 0
    assert files(made) == before
    found = alerts(service="credits", quiet_minutes=45)
    assert before[1:] == (grafana_rules(found), prometheus_rules(found)), "the YAML says what was to be said"


def test_the_dashboard_has_the_shape_that_grafana_imports(made: Path) -> None:
    board, *_ = files(made)
    assert (board["uid"], board["title"], board["schemaVersion"] >= 36) == ("groat", "Groat", True)
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    assert {name: variable["type"] for name, variable in variables.items()} == {
        "metrics": "datasource", "ledger": "datasource", "job": "query",
    }  # fmt: skip
    assert variables["job"]["current"]["value"] == "credits"
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
        if panel["type"] == "row":
            continue
        assert panel["datasource"]["uid"] in {"${metrics}", "${ledger}"}
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            assert target["datasource"] == panel["datasource"]
            assert ("rawSql" in target) != ("expr" in target)
            assert target.get("rawSql") or target.get("expr")
    assert {panel["title"] for panel in panels if panel["type"] == "row"} == {"Usage", "Books", "Service"}


def test_the_rules_have_the_shape_of_provisioned_rules(made: Path) -> None:
    _, provisioned, rules = files(made)
    assert provisioned["apiVersion"] == 1
    (group,) = provisioned["groups"]
    assert {"orgId", "name", "folder", "interval", "rules"} == group.keys()
    assert len({rule["uid"] for rule in group["rules"]}) == len(group["rules"]) == len(ALERTS)
    for rule in group["rules"]:
        assert len(rule["uid"]) <= 40
        references = {query["refId"] for query in rule["data"]}
        assert rule["condition"] in references
        assert all(query["model"]["refId"] == query["refId"] for query in rule["data"])
        assert [query["datasourceUid"] for query in rule["data"]] == ["prometheus", "__expr__"]
        assert rule["data"][1]["model"]["expression"] in references
    for rule in rules["groups"][0]["rules"]:
        assert {"alert", "expr", "for", "labels", "annotations"} == rule.keys()
        assert re.fullmatch(r"Groat[A-Za-z0-9]+", rule["alert"])
        assert re.fullmatch(r"\d+[smh]", rule["for"])
    said = json.dumps([provisioned, rules])
    assert 'job=\\\\\\"credits' in said or "credits" in said
    assert "[45m]" in said


def expressions() -> list[tuple[str, str]]:
    """Return everything that is asked of Prometheus, by title."""
    figures = [(panel.title, expression) for _, panels in ROWS for panel in panels for expression, _ in panel.figures]
    return [*figures, *((alert.name, alert.expression) for alert in ALERTS)]


def test_every_figure_that_is_asked_for_is_among_those_of_a_running_service(eventful: Address, tmp_path: Path) -> None:
    with serving(eventful, tmp_path) as (service,):
        assert httpx2.get(f"{service.url}/readyz").status_code == 200
        text = httpx2.get(f"{service.url}/metrics").text
    kinds: dict[str, str] = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    told = {"up"}
    for name, kind in kinds.items():
        told |= {f"{name}{ending}" for ending in ("_bucket", "_sum", "_count")} if kind == "histogram" else {name}
    assert len(expressions()) > 20
    for title, expression in expressions():
        named = set(_NAME.findall(expression))
        assert named, title
        assert named <= told, (title, named - told)
    ours = {name for _, expression in expressions() for name in _NAME.findall(expression)}
    left_out = {name for name in kinds if name.startswith("groat_") and not name.endswith("_created")}
    left_out -= {re.sub(r"_(bucket|sum|count)$", "", name) for name in ours} | ours
    assert left_out == set(), "each figure is on the dashboard or in an alert"


def test_every_label_that_is_asked_for_is_one_that_the_figure_has() -> None:
    registry = CollectorRegistry()
    gauges = Gauges(registry)
    labels = {
        "groat_charges_total": gauges.charges, "groat_check_findings": gauges.check_findings,
        "groat_http_request_seconds_bucket": gauges.requests, "groat_http_request_seconds_count": gauges.requests,
    }  # fmt: skip
    known = {name: set(figure._labelnames) for name, figure in labels.items()}  # noqa: SLF001 - prometheus_client's
    for title, expression in expressions():
        allowed = _PROMETHEUS_OWN.union(*(known.get(name, set()) for name in _NAME.findall(expression)))
        used = {
            *_LABELS.findall(expression),
            *(label for group in _BY.findall(expression) for label in group.split(", ")),
        }
        assert used <= allowed, (title, used - allowed)
        assert expression.count("(") == expression.count(")"), title
        assert expression.count("{") == expression.count("}"), title


def test_the_checks_that_alerts_name_are_there() -> None:
    named = {name for alert in ALERTS for name in re.findall(r'check="(\w+)"', alert.expression)}
    assert named == {"demo_untracked", "no_unpriced_event"}
    assert named < set(TOLD_ELSEWHERE.split("|")) < set(CHECKS)


def test_what_may_go_wrong_has_an_alert() -> None:
    assert {alert.name for alert in ALERTS} == {
        "service-down", "no-charges", "queue-nearly-full", "charges-refused", "check-failing", "checks-not-run",
        "sweeper-late", "users-without-balance", "demo-leak", "unpriced-events", "slow-answers", "errors",
    }  # fmt: skip


def as_grafana_would(sql: str, since: datetime, until: datetime) -> str:
    """Put in what Grafana's PostgreSQL source puts in for its macros."""
    lower, upper = (f"'{instant:%Y-%m-%dT%H:%M:%SZ}'" for instant in (since, until))
    sql = re.sub(r"\$__timeFilter\((\w+)\)", rf"\1 BETWEEN {lower} AND {upper}", sql)
    return sql.replace("$__timeFrom()", lower).replace("$__timeTo()", upper)


@pytest.mark.parametrize(("row", "panel"), _SQL, ids=[f"{row}: {panel.title}" for row, panel in _SQL])
def test_every_query_of_the_views_runs_as_a_role_that_may_only_read(eventful: Address, row: str, panel: Panel) -> None:
    """Each over a long window, in which it has rows, and over an empty one."""
    now = datetime.now(UTC)
    assert panel.sql is not None
    assert row in {"Usage", "Books"}
    with _role(eventful) as (name, address):
        let_reader_in(eventful.url, name)
        with psycopg.connect(address.url, autocommit=True) as reader:
            for since, until, has_rows in (
                (now - timedelta(days=3650), now + timedelta(days=1), True),
                (now - timedelta(days=3650), now - timedelta(days=3649), False),
            ):
                query = as_grafana_would(panel.sql, since, until)
                assert "$" not in query
                cursor = reader.execute(query.encode())
                found = cursor.fetchall()
                assert found or not has_rows, query
                columns = [column.name for column in cursor.description or ()]
                if panel.kind == "timeseries":
                    assert columns[:2] == ["time", "metric"]
                    assert all(isinstance(point[0], datetime) and isinstance(point[1], str) for point in found)


@pytest.mark.parametrize(
    "given",
    [["--job", 'x"} or vector(1)'], ["--job", ""], ["--quiet-minutes", "0"], ["--dir", "/dev/null/x"]],
)
def test_what_cannot_be_written_into_a_rule_is_refused(groat: Groat, given: list[str], tmp_path: Path) -> None:
    directory = [] if "--dir" in given else ["--dir", str(tmp_path / "made")]
    told = groat("grafana", "export", *given, *directory)
    assert told.code == 1
    assert "Traceback" not in told.err
    assert not (tmp_path / "made").exists()
