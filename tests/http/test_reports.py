"""The guide's five reports on the wire: keys, parameters, bounds, order, pages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.http.api import Api

ROOT = "/api/v1/admin/credits"
SORTS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "consumed": lambda row: -row["current_month_consumed"],
    "total_consumed": lambda row: -row["total_consumed"],
    "balance": lambda row: -row["current_balance"],
    "email": lambda row: row["email"],
    "next_reset_at": lambda row: row["next_reset_at"],
}


@pytest.fixture(scope="module")
def somebody(api: Api) -> str:
    """Make some usage; returns one of its users, who used 25 times, of which 4 over a month ago."""
    for number in range(7):
        user = api.new_user(full_name=f"Nr {number}", monthly_allowance=50 + number % 3)
        api.charge(user, credits_=number // 2)
    somebody = api.new_user(full_name="Some Body")
    now = datetime.now(UTC)
    for number in range(25):
        at = now - timedelta(days=31 if number < 4 else 0, minutes=25 - number)
        api.charge(somebody, credits_="0.25", description=f"use {number}", occurred_at=at.isoformat())
    return somebody


def test_overview_has_the_totals_of_the_window(api: Api, somebody: str) -> None:
    short, long = (api.get(f"{ROOT}/overview", days=days).body for days in (30, 40))
    assert short.keys() == {
        "period_days", "total_events", "total_credits", "refunded_credits", "net_credits", "total_api_cost_dollars",
        "active_users", "by_action_type",
    }  # fmt: skip
    assert (short["period_days"], long["period_days"]) == (30, 40)
    assert api.get(f"{ROOT}/overview").body == short
    assert long["total_events"] - short["total_events"] == 4, somebody
    assert long["total_credits"] - short["total_credits"] == 1
    for name, total in (("event_count", "total_events"), ("total_credits", "total_credits")):
        assert sum(row[name] for row in short["by_action_type"]) == short[total]
    assert short["by_action_type"][0].keys() >= {"action_type", "event_count", "total_credits"}


def test_users_has_the_guides_keys_and_defaults(api: Api, somebody: str) -> None:
    body = api.get(f"{ROOT}/users").body
    assert body.keys() >= {"users", "count"}
    assert body["users"][0].keys() == {
        "email", "full_name", "current_balance", "monthly_allowance", "current_month_consumed", "total_consumed",
        "next_reset_at",
    }  # fmt: skip
    assert body["count"] == len(body["users"]) <= 50
    explicit = api.get(f"{ROOT}/users", limit=50, sort_by="consumed").body
    assert explicit["users"] == body["users"], somebody


@pytest.mark.parametrize("sort_by", SORTS)
@pytest.mark.parametrize("limit", [3, 7])
def test_pages_of_users_have_each_user_once_and_in_order(api: Api, somebody: str, sort_by: str, limit: int) -> None:
    rows: list[Mapping[str, Any]] = []
    query: dict[str, object] = {"limit": limit, "sort_by": sort_by}
    while True:
        page = api.get(f"{ROOT}/users", **query).body
        assert page["count"] == len(page["users"]) <= limit
        rows += page["users"]
        if page["next_cursor"] is None:
            break
        assert page["count"] == limit
        query["cursor"] = page["next_cursor"]
    emails = [row["email"] for row in rows]
    assert len(emails) == len(set(emails)) == page["total"] if page["users"] else len(emails) == len(set(emails))
    assert somebody in emails
    keys = [SORTS[sort_by](row) for row in rows]
    assert keys == sorted(keys)


def test_one_user_has_the_guides_keys_and_more(api: Api, somebody: str) -> None:
    body = api.get(f"{ROOT}/user/{somebody}").body
    assert body.keys() == {"user", "balance", "recent_events", "by_action_type", "open_holds"}
    assert body["user"].keys() >= {"email", "full_name", "demo_mode"}
    assert body["balance"].keys() >= {
        "current_balance", "current_month_consumed", "monthly_allowance", "total_consumed", "held", "available",
        "next_reset_at",
    }  # fmt: skip
    assert body["balance"]["current_balance"] == Decimal("93.75")
    assert body["recent_events"][0].keys() >= {
        "timestamp", "action_type", "credits", "description", "input_tokens", "output_tokens", "model",
    }  # fmt: skip
    assert [event["description"] for event in body["recent_events"]] == [f"use {number}" for number in range(24, 4, -1)]
    assert body["by_action_type"][0]["event_count"] == 21
    assert api.get(f"{ROOT}/user/{somebody}", days=40).body["by_action_type"][0]["event_count"] == 25


def test_one_user_may_be_named_by_the_id_too(api: Api, somebody: str) -> None:
    by_email = api.get(f"{ROOT}/user/{somebody}").body
    assert api.get(f"{ROOT}/user/{by_email['user']['id']}").body == by_email
    assert api.get(f"{ROOT}/user/{somebody.upper().replace('@', '%40')}").body == by_email


def test_times_are_utc_and_say_so(api: Api, somebody: str) -> None:
    body = api.get(f"{ROOT}/user/{somebody}").body
    times = [body["balance"]["next_reset_at"], *(event["timestamp"] for event in body["recent_events"])]
    assert all(time.endswith("Z") for time in times)


def test_top_consumers_are_ranked_with_their_shares(api: Api, somebody: str) -> None:
    body = api.get(f"{ROOT}/top-consumers", limit=500).body
    rows = body["top_consumers"]
    assert body.keys() == {"period_days", "top_consumers", "count"}
    assert (body["period_days"], body["count"]) == (30, len(rows))
    assert rows[0].keys() == {
        "rank", "email", "full_name", "events", "total_credits", "total_api_cost_dollars", "share_percent",
    }  # fmt: skip
    assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
    totals = [row["total_credits"] for row in rows]
    assert totals == sorted(totals, reverse=True)
    assert next(row["events"] for row in rows if row["email"] == somebody) == 21
    assert abs(sum(row["share_percent"] for row in rows) - 100) < 1
    assert api.get(f"{ROOT}/top-consumers", limit=2).body["top_consumers"] == rows[:2]
    assert len(api.get(f"{ROOT}/top-consumers").body["top_consumers"]) == min(20, len(rows))


@pytest.mark.parametrize("days", [1, 30, 366])
def test_daily_trend_has_a_row_for_each_day_and_adds_up_to_the_overview(api: Api, somebody: str, days: int) -> None:
    rows = api.get(f"{ROOT}/daily-trend", days=days).body["daily_trend"]
    assert rows[0].keys() == {"date", "events", "total_credits", "unique_users"}
    dates = [datetime.fromisoformat(row["date"]) for row in rows]
    assert dates == [dates[0] + timedelta(days=number) for number in range(len(dates))]
    assert len(dates) in {days, days + 1}, somebody
    overview = api.get(f"{ROOT}/overview", days=days).body
    assert sum(row["events"] for row in rows) == overview["total_events"]
    assert sum(row["total_credits"] for row in rows) == overview["total_credits"]


@pytest.mark.parametrize("path", ["overview", "daily-trend", "top-consumers", "user/{}"])
@pytest.mark.parametrize(
    ("days", "status"), [("1", 200), ("366", 200), ("0", 422), ("367", 422), ("-1", 422), ("99999999", 422), ("x", 422)]
)
def test_days_are_1_to_366(api: Api, somebody: str, path: str, days: str, status: int) -> None:
    assert api.get(f"{ROOT}/{path.format(somebody)}", days=days).status == status


@pytest.mark.parametrize("path", ["users", "top-consumers"])
@pytest.mark.parametrize(("limit", "status"), [("1", 200), ("500", 200), ("0", 422), ("501", 422), ("-1", 422)])
def test_limits_are_1_to_500(api: Api, path: str, limit: str, status: int) -> None:
    assert api.get(f"{ROOT}/{path}", limit=limit).status == status


def test_an_order_that_is_none_is_refused(api: Api) -> None:
    assert api.get(f"{ROOT}/users", sort_by="nonsense").code == (422, "unprocessable")


def test_a_user_whom_nobody_knows_is_not_found(api: Api) -> None:
    assert api.get(f"{ROOT}/user/nobody@example.com").code == (404, "unknown_user")
