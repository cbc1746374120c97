-- Roll-ups, written with what they add up. Of usage_hourly, usage_daily and usage_daily_users each writer has rows of its
-- own (the slot), so that two seldom wait for one another. All writers take rows in one order: balances, usage_daily_users,
-- usage_daily, usage_hourly.

-- Makes the newest day of these charges each user's open one, and the day before it a row of user_daily. Charges of days
-- that are closed already go there too: returns which, null where there are none. The caller adds all others to the open
-- days.
CREATE OR REPLACE FUNCTION open_days(
    user_ids bigint[], occurred timestamptz[], credits numeric[], costs numeric[], outcomes text[], booked_at timestamptz
) RETURNS boolean[]
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    booked_day date := booked_at AT TIME ZONE 'UTC';
    writer smallint := pg_backend_pid() % 16;
    late boolean[];
BEGIN
    WITH newest AS (
        SELECT r.user_id, max(coalesce((r.occurred AT TIME ZONE 'UTC')::date, booked_day)) AS day
        FROM unnest(user_ids, occurred, outcomes) AS r(user_id, occurred, outcome)
        WHERE r.outcome = 'recorded'
        GROUP BY r.user_id
    ), turned AS MATERIALIZED (
        SELECT newest.day, date_trunc('month', newest.day)::date AS month, account.user_id, account.open_day,
            account.open_events, account.open_credits, account.open_api_cost, account.last_event_at
        FROM newest JOIN user_credit_balances AS account ON account.user_id = newest.user_id
        WHERE account.open_day IS NULL OR account.open_day < newest.day
    ), closed AS (
        INSERT INTO user_daily (user_id, day, events, credits, api_cost, last_at)
        SELECT user_id, open_day, open_events, open_credits, open_api_cost, last_event_at
        FROM turned WHERE open_day IS NOT NULL
    ), counted AS (
        INSERT INTO usage_daily_users AS rolled (day, slot, users)
        SELECT day, writer, count(*) FROM turned GROUP BY day ORDER BY day
        ON CONFLICT (day, slot) DO UPDATE SET users = rolled.users + excluded.users
    )
    UPDATE user_credit_balances AS account
    SET open_day = turned.day, open_events = 0, open_credits = 0, open_api_cost = 0,
        closed_month = turned.month,
        closed_month_credits = trim_scale(
            CASE WHEN account.closed_month = turned.month THEN account.closed_month_credits ELSE 0 END
            + CASE WHEN turned.open_day >= turned.month THEN turned.open_credits ELSE 0 END
        ),
        closed_previous_credits = trim_scale(
            CASE account.closed_month
                WHEN turned.month THEN account.closed_previous_credits
                WHEN turned.month - interval '1 month' THEN account.closed_month_credits
                ELSE 0
            END
            + CASE
                WHEN turned.open_day < turned.month AND turned.open_day >= turned.month - interval '1 month'
                    THEN turned.open_credits
                ELSE 0
            END
        )
    FROM turned WHERE account.user_id = turned.user_id;

    SELECT array_agg(
        coalesce((r.occurred AT TIME ZONE 'UTC')::date, booked_day) < account.open_day AND r.outcome = 'recorded'
        ORDER BY r.ordinal
    ) INTO late
    FROM unnest(user_ids, occurred, outcomes) WITH ORDINALITY AS r(user_id, occurred, outcome, ordinal)
    LEFT JOIN user_credit_balances AS account ON account.user_id = r.user_id;
    IF NOT true = ANY (late) THEN
        RETURN NULL;
    END IF;
    WITH used AS MATERIALIZED (
        SELECT r.user_id, coalesce((r.occurred AT TIME ZONE 'UTC')::date, booked_day) AS day, count(*) AS events,
            trim_scale(sum(r.credits)) AS credits, trim_scale(coalesce(sum(r.cost), 0)) AS api_cost,
            max(coalesce(r.occurred, booked_at)) AS last_at
        FROM unnest(user_ids, occurred, credits, costs, late) AS r(user_id, occurred, credits, cost, late)
        WHERE r.late
        GROUP BY 1, 2
    ), rolled AS (
        INSERT INTO user_daily AS rolled (user_id, day, events, credits, api_cost, last_at)
        SELECT user_id, day, events, credits, api_cost, last_at FROM used ORDER BY user_id, day
        ON CONFLICT (user_id, day) DO UPDATE
        SET events = rolled.events + excluded.events,
            credits = trim_scale(rolled.credits + excluded.credits),
            api_cost = trim_scale(rolled.api_cost + excluded.api_cost),
            last_at = greatest(rolled.last_at, excluded.last_at),
            actions = NULL
        RETURNING rolled.day, rolled.xmax = 0 AS is_new
    ), counted AS (
        INSERT INTO usage_daily_users AS known (day, slot, users)
        SELECT day, writer, count(*) FROM rolled WHERE is_new GROUP BY day ORDER BY day
        ON CONFLICT (day, slot) DO UPDATE SET users = known.users + excluded.users
    )
    UPDATE user_credit_balances AS account
    SET closed_month_credits = trim_scale(account.closed_month_credits + late_ones.this_month),
        closed_previous_credits = trim_scale(account.closed_previous_credits + late_ones.month_before)
    FROM (
        SELECT used.user_id,
            coalesce(sum(used.credits) FILTER (WHERE used.day >= known.closed_month), 0) AS this_month,
            coalesce(sum(used.credits) FILTER (
                WHERE used.day < known.closed_month AND used.day >= known.closed_month - interval '1 month'
            ), 0) AS month_before
        FROM used JOIN user_credit_balances AS known ON known.user_id = used.user_id
        GROUP BY used.user_id
    ) AS late_ones
    WHERE account.user_id = late_ones.user_id;
    RETURN late;
END
$$;

-- Takes an event out: the caller voids it, and has moved it away already. A day that has no event any more goes; where
-- that was the open one, the last closed day of the user is opened again.
CREATE OR REPLACE FUNCTION take_usage(event credit_usage_events) RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    event_day date := event.created_at AT TIME ZONE 'UTC';
    writer smallint := pg_backend_pid() % 16;
    was_last boolean;
    newest user_daily;
BEGIN
    UPDATE user_credit_balances AS account
    SET open_events = account.open_events - 1,
        open_credits = trim_scale(account.open_credits - event.credits_charged),
        open_api_cost = trim_scale(account.open_api_cost - coalesce(event.api_cost, 0))
    WHERE account.user_id = event.user_id AND account.open_day = event_day
    RETURNING account.open_events = 0 INTO was_last;
    IF FOUND AND was_last THEN
        DELETE FROM user_daily
        WHERE user_id = event.user_id AND day = (SELECT max(day) FROM user_daily WHERE user_id = event.user_id)
        RETURNING * INTO newest;
        UPDATE user_credit_balances AS account
        SET open_day = newest.day, open_events = coalesce(newest.events, 0),
            open_credits = coalesce(newest.credits, 0), open_api_cost = coalesce(newest.api_cost, 0),
            closed_month = date_trunc('month', newest.day),
            closed_month_credits = closed.this_month, closed_previous_credits = closed.month_before
        FROM (
            SELECT coalesce(trim_scale(sum(credits) FILTER (WHERE day >= date_trunc('month', newest.day))), 0)
                    AS this_month,
                coalesce(trim_scale(sum(credits) FILTER (WHERE day < date_trunc('month', newest.day))), 0)
                    AS month_before
            FROM user_daily
            WHERE user_id = event.user_id AND day >= date_trunc('month', newest.day) - interval '1 month'
        ) AS closed
        WHERE account.user_id = event.user_id;
    ELSIF NOT FOUND THEN
        DELETE FROM user_daily WHERE user_id = event.user_id AND day = event_day AND events = 1;
        was_last := FOUND;
        UPDATE user_daily AS rolled
        SET events = rolled.events - 1,
            credits = trim_scale(rolled.credits - event.credits_charged),
            api_cost = trim_scale(rolled.api_cost - coalesce(event.api_cost, 0)),
            last_at = (
                SELECT max(remaining.created_at) FROM credit_usage_events AS remaining
                WHERE remaining.user_id = event.user_id
                    AND remaining.created_at >= event_day::timestamp AT TIME ZONE 'UTC'
                    AND remaining.created_at < (event_day + 1)::timestamp AT TIME ZONE 'UTC'
            ),
            actions = NULL
        WHERE rolled.user_id = event.user_id AND rolled.day = event_day;
    END IF;
    IF was_last THEN
        INSERT INTO usage_daily_users AS rolled (day, slot, users) VALUES (event_day, writer, -1)
        ON CONFLICT (day, slot) DO UPDATE SET users = rolled.users - 1;
    END IF;
    PERFORM change_usage(event, -1, -event.credits_charged, -coalesce(event.api_cost, 0), 0);
END
$$;

-- Changes the figures of an event's day and hour.
CREATE OR REPLACE FUNCTION change_usage(
    event credit_usage_events, more_events integer, more_credits numeric, more_api_cost numeric, more_refunded numeric
) RETURNS void
LANGUAGE sql
SET search_path FROM CURRENT
AS $$
    INSERT INTO usage_daily AS rolled (day, action_type, model_used, slot, events, credits, api_cost, refunded)
    VALUES (
        event.created_at AT TIME ZONE 'UTC', event.action_type, event.model_used, pg_backend_pid() % 16,
        more_events, more_credits, more_api_cost, more_refunded
    )
    ON CONFLICT (day, action_type, model_used, slot) DO UPDATE
    SET events = rolled.events + excluded.events,
        credits = trim_scale(rolled.credits + excluded.credits),
        api_cost = trim_scale(rolled.api_cost + excluded.api_cost),
        refunded = trim_scale(rolled.refunded + excluded.refunded);
    INSERT INTO usage_hourly AS rolled (hour, action_type, model_used, slot, events, credits, api_cost, refunded)
    VALUES (
        date_trunc('hour', event.created_at, 'UTC'), event.action_type, event.model_used, pg_backend_pid() % 16,
        more_events, more_credits, more_api_cost, more_refunded
    )
    ON CONFLICT (hour, action_type, model_used, slot) DO UPDATE
    SET events = rolled.events + excluded.events,
        credits = trim_scale(rolled.credits + excluded.credits),
        api_cost = trim_scale(rolled.api_cost + excluded.api_cost),
        refunded = trim_scale(rolled.refunded + excluded.refunded);
$$;
