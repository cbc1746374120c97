"""`groat grafana export`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from groat_server.cli.output import say
from groat_server.errors import Unprocessable

if TYPE_CHECKING:
    from collections.abc import Iterator

grafana = App(name="grafana", help="Make a dashboard and alert rules for Grafana.")

_HERE = Path("grafana")
_QUIET_MINUTES_MAX = 7 * 24 * 60
_JOB = re.compile(r"[A-Za-z0-9_.:/-]{1,64}")
_NOTE = "# Made by `groat grafana export`: make it again rather than change it."


@grafana.command
def export(
    *,
    directory: Annotated[Path, Parameter(name="--dir", help="Where the files go.")] = _HERE,
    service: Annotated[str, Parameter(name="--job", help="What Prometheus calls the service (its job).")] = "groat",
    quiet_minutes: Annotated[int, Parameter(help="Without a charge for so long, somebody is told.")] = 30,
) -> None:
    """Write a dashboard for Grafana, its alert rules, and the same rules for Prometheus.

    dashboards/groat.json is imported or provisioned; alerting/groat.yaml goes to Grafana's provisioning/alerting;
    prometheus/groat.rules.yml is a rule file of Prometheus.
    """
    from groat_server.grafana.alerts import alerts, grafana_rules, prometheus_rules
    from groat_server.grafana.dashboard import dashboard

    if not _JOB.fullmatch(service):
        raise Unprocessable("--job has letters, digits and any of _ . : / -, up to 64 of them.")
    if not 1 <= quiet_minutes <= _QUIET_MINUTES_MAX:
        raise Unprocessable(f"--quiet-minutes must be from 1 to {_QUIET_MINUTES_MAX}.")
    found = alerts(service=service, quiet_minutes=quiet_minutes)
    files = {
        "dashboards/groat.json": json.dumps(dashboard(service=service), indent=2),
        "alerting/groat.yaml": "\n".join([_NOTE, *_yaml(grafana_rules(found))]),
        "prometheus/groat.rules.yml": "\n".join([_NOTE, *_yaml(prometheus_rules(found))]),
    }
    for name, text in files.items():
        _write(directory / name, f"{text}\n")
        say(f"[green]✓[/] {directory / name}")


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    except OSError as error:
        raise Unprocessable(f"{file} cannot be written: {error.strerror}.") from error


def _yaml(value: dict[str, Any] | list[Any], indent: str = "") -> Iterator[str]:
    """Yield the lines of a mapping or a list as YAML; what stands alone is written as in JSON, which YAML reads."""
    for name, member in value.items() if isinstance(value, dict) else [("-", each) for each in value]:
        begin = f"{indent}-" if name == "-" else f"{indent}{name}:"
        if not isinstance(member, dict | list) or not member:
            yield f"{begin} {json.dumps(member, ensure_ascii=False)}"
            continue
        first, *rest = _yaml(member, f"{indent}  ")
        if name == "-":
            yield f"{begin} {first.lstrip()}"
        else:
            yield begin
            yield first
        yield from rest
