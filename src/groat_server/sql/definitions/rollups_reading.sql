-- What reports add up from the roll-ups (usage_hourly, usage_daily, user_daily, and the newest day of each user in
-- user_credit_balances), and what makes the roll-ups again from the events. Hours and days are of created_at, in UTC.
--
-- Every window is open at its end: it begins after an instant, `since`. Its whole days and hours come from the roll-ups, its
-- ragged first hour from the events. The functions are STABLE, so that a statement that calls them sees one snapshot.

-- Everyone's usage, in parts to be summed: of whole days, of the whole hours of the first, partial day, and of what is left
-- of the first hour; that is its events, or the whole hour less the events before, whichever are fewer. `hour` is where a
-- part begins.
CREATE OR REPLACE FUNCTION usage_since(since timestamptz) RETURNS TABLE (
    hour timestamptz,
    action_type text,
    model_used text,
    events bigint,
    credits numeric,
    api_cost numeric,
    refunded numeric
)
LANGUAGE sql STABLE
SET search_path FROM CURRENT
SET enable_seqscan = off
SET jit = off
AS $$
    WITH first AS (
        SELECT edge.hour, edge.is_early, CASE WHEN edge.is_early THEN -1 ELSE 1 END AS sign,
            CASE WHEN edge.is_early THEN edge.hour ELSE since + interval '1 microsecond' END AS lower,
            CASE WHEN edge.is_early THEN since + interval '1 microsecond' ELSE edge.hour + interval '1 hour' END AS upper
        FROM (
            SELECT date_trunc('hour', since, 'UTC') AS hour,
                since < date_trunc('hour', since, 'UTC') + interval '30 minutes' AS is_early
        ) AS edge
    )
    SELECT daily.day::timestamp AT TIME ZONE 'UTC', daily.action_type, daily.model_used, daily.events, daily.credits,
        daily.api_cost, daily.refunded
    FROM usage_daily AS daily
    WHERE daily.day > (since AT TIME ZONE 'UTC')::date
    UNION ALL
    SELECT hourly.hour, hourly.action_type, hourly.model_used, hourly.events, hourly.credits, hourly.api_cost,
        hourly.refunded
    FROM usage_hourly AS hourly
    WHERE (hourly.hour > date_trunc('hour', since, 'UTC') OR (SELECT is_early FROM first))
        AND hourly.hour >= date_trunc('hour', since, 'UTC')
        AND hourly.hour < date_trunc('day', since, 'UTC') + interval '24 hours'
    UNION ALL
    SELECT first.hour, event.action_type, event.model_used, first.sign * count(*),
        first.sign * sum(event.credits_charged), first.sign * coalesce(sum(event.api_cost), 0),
        -- Refunds are looked for where the hour has any.
        first.sign * sum(
            CASE
                WHEN (event.action_type, coalesce(event.model_used, '')) IN (
                    SELECT hourly.action_type, coalesce(hourly.model_used, '')
                    FROM usage_hourly AS hourly
                    WHERE hourly.hour = date_trunc('hour', since, 'UTC') AND hourly.refunded <> 0
                )
                THEN (
                    SELECT coalesce(sum(entry.amount), 0)
                    FROM credit_ledger_entries AS entry
                    WHERE entry.user_id = event.user_id AND entry.event_id = event.id AND entry.kind = 'refund'
                )
                ELSE 0
            END
        )
    FROM first
    JOIN credit_usage_events AS event ON event.created_at >= first.lower AND event.created_at < first.upper
    GROUP BY first.hour, first.sign, event.action_type, event.model_used
$$;

-- The usage of some users. Users without any have no row.
CREATE OR REPLACE FUNCTION usage_of_users_since(user_ids bigint[], since timestamptz) RETURNS TABLE (
    user_id bigint,
    events bigint,
    credits numeric,
    api_cost numeric
)
LANGUAGE sql STABLE
SET search_path FROM CURRENT
SET enable_seqscan = off
SET jit = off
AS $$
    SELECT somebody.user_id, sum(part.events)::bigint, sum(part.credits), sum(part.api_cost)
    FROM unnest(user_ids) AS somebody(user_id)
    -- The first, partial day of the window: by the hour where the sweep has added that up.
    LEFT JOIN user_daily AS partial
        ON partial.user_id = somebody.user_id AND partial.day = (since AT TIME ZONE 'UTC')::date
        AND partial.actions IS NOT NULL
    CROSS JOIN LATERAL (
        SELECT daily.events, daily.credits, daily.api_cost
        FROM user_daily AS daily
        WHERE daily.user_id = somebody.user_id AND daily.day > (since AT TIME ZONE 'UTC')::date
        UNION ALL
        SELECT account.open_events, account.open_credits, account.open_api_cost
        FROM user_credit_balances AS account
        WHERE account.user_id = somebody.user_id AND account.open_day > (since AT TIME ZONE 'UTC')::date
        UNION ALL
        SELECT (used.figures -> 0)::bigint, (used.figures -> 1)::numeric, (used.figures -> 2)::numeric
        FROM jsonb_each(partial.actions -> 'hours') AS of_hour(hour, actions)
        CROSS JOIN LATERAL jsonb_each(of_hour.actions) AS used(action_type, figures)
        WHERE of_hour.hour::integer > extract(hour FROM since AT TIME ZONE 'UTC')
        UNION ALL
        SELECT 1, event.credits_charged, coalesce(event.api_cost, 0)
        FROM credit_usage_events AS event
        WHERE event.user_id = somebody.user_id AND event.created_at > since
            AND event.created_at < CASE
                WHEN partial.day IS NULL THEN date_trunc('day', since, 'UTC') + interval '24 hours'
                ELSE date_trunc('hour', since, 'UTC') + interval '1 hour'
            END
    ) AS part
    GROUP BY somebody.user_id
$$;

-- The `most` users who consumed most, in order; ties by user_id.
--
-- A threshold algorithm. What a user consumed is bounded from above by what the balance row has of the months that the
-- window touches, or by everything the user ever did where the window reaches further back than the month before that of
-- the user's newest day. The users of the highest bounds are added up exactly; as soon as the last of the `most` stands
-- before whoever has the next bound, nobody else can come before it. Else all whose bound reaches as far are added up.
CREATE OR REPLACE FUNCTION top_consumers_since(since timestamptz, most bigint) RETURNS TABLE (
    user_id bigint,
    events bigint,
    credits numeric,
    api_cost numeric
)
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    first_month date := date_trunc('month', since AT TIME ZONE 'UTC');
    second_month date := first_month + interval '1 month';
    candidates bigint[];
    next_user bigint;
    next_bound numeric;
    found_users bigint[];
    found_events bigint[];
    found_credits numeric[];
    found_costs numeric[];
BEGIN
    SELECT array_agg(bounded.user_id) FILTER (WHERE bounded.place <= 3 * most),
        max(bounded.user_id) FILTER (WHERE bounded.place > 3 * most),
        max(bounded.bound) FILTER (WHERE bounded.place > 3 * most)
    INTO candidates, next_user, next_bound
    FROM (
        SELECT account.user_id, account.bound, row_number() OVER (ORDER BY account.bound DESC, account.user_id) AS place
        FROM (
            SELECT account.user_id,
                CASE account.closed_month
                    WHEN first_month THEN account.open_credits + account.closed_month_credits
                    WHEN second_month THEN
                        account.open_credits + account.closed_month_credits + account.closed_previous_credits
                    ELSE account.total_consumed
                END AS bound
            FROM user_credit_balances AS account
            WHERE account.last_event_at > since
            ORDER BY bound DESC, account.user_id
            LIMIT 3 * most + 1
        ) AS account
    ) AS bounded;

    LOOP
        SELECT array_agg(consumer.user_id), array_agg(consumer.events), array_agg(consumer.credits),
            array_agg(consumer.api_cost)
        INTO found_users, found_events, found_credits, found_costs
        FROM (
            SELECT consumer.user_id, consumer.events, consumer.credits, consumer.api_cost
            FROM usage_of_users_since(candidates, since) AS consumer
            ORDER BY consumer.credits DESC, consumer.user_id
            LIMIT most
        ) AS consumer;
        EXIT WHEN next_user IS NULL OR next_bound < found_credits[most]
            OR next_bound = found_credits[most] AND next_user > found_users[most];
        SELECT array_agg(account.user_id) INTO candidates
        FROM user_credit_balances AS account
        WHERE account.last_event_at > since
            AND CASE account.closed_month
                WHEN first_month THEN account.open_credits + account.closed_month_credits
                WHEN second_month THEN
                    account.open_credits + account.closed_month_credits + account.closed_previous_credits
                ELSE account.total_consumed
            END >= found_credits[most];
        next_user := NULL;
    END LOOP;
    RETURN QUERY
        SELECT * FROM unnest(found_users, found_events, found_credits, found_costs);
END
$$;

-- What a user used on a day, by action type: [events, credits, api_cost], of the day and of each of its hours. The user comes
-- out of an array, so that no plan is made for who that is: for the heaviest the index by time alone looks cheaper.
CREATE OR REPLACE FUNCTION actions_of_day(account_user_id bigint, of_day date) RETURNS jsonb
LANGUAGE sql STABLE
SET search_path FROM CURRENT
SET enable_seqscan = off
AS $$
    WITH used AS (
        SELECT extract(hour FROM event.created_at AT TIME ZONE 'UTC') AS hour, event.action_type, count(*) AS events,
            sum(event.credits_charged) AS credits, coalesce(sum(event.api_cost), 0) AS api_cost
        FROM unnest(ARRAY[account_user_id]) AS somebody(user_id)
        JOIN credit_usage_events AS event ON event.user_id = somebody.user_id
        WHERE event.created_at >= of_day::timestamp AT TIME ZONE 'UTC'
            AND event.created_at < (of_day + 1)::timestamp AT TIME ZONE 'UTC'
        GROUP BY extract(hour FROM event.created_at AT TIME ZONE 'UTC'), event.action_type
    ), actions AS (
        SELECT jsonb_object_agg(
            action_type, jsonb_build_array(events, trim_scale(credits), trim_scale(api_cost))
        ) AS of_day
        FROM (
            SELECT action_type, sum(events) AS events, sum(credits) AS credits, sum(api_cost) AS api_cost
            FROM used
            GROUP BY action_type
        ) AS summed
    ), hours AS (
        SELECT jsonb_object_agg(hour, actions) AS of_hours
        FROM (
            SELECT hour, jsonb_object_agg(
                action_type, jsonb_build_array(events, trim_scale(credits), trim_scale(api_cost))
            ) AS actions
            FROM used
            GROUP BY hour
        ) AS summed
    )
    SELECT jsonb_build_object('day', actions.of_day, 'hours', hours.of_hours) FROM actions CROSS JOIN hours
$$;

-- Adds up the actions of at most `most` days of many events that are over, so that nobody has to read their events. Returns
-- how many it did.
--
-- Without a lock: a charge or a void that changes the day after it was read changes its row, and then the row's xmin is not
-- what it was, and nothing is written.
CREATE OR REPLACE FUNCTION add_up_actions(most integer) RETURNS bigint
LANGUAGE sql
SET search_path FROM CURRENT
SET enable_seqscan = off
AS $$
    WITH due AS MATERIALIZED (
        SELECT daily.user_id, daily.day, daily.xmin AS seen
        FROM user_daily AS daily
        WHERE daily.actions IS NULL AND daily.events >= 200 AND daily.day < (now() AT TIME ZONE 'UTC')::date
        LIMIT most
    ), added AS (
        UPDATE user_daily AS daily
        SET actions = actions_of_day(due.user_id, due.day)
        FROM due
        WHERE daily.user_id = due.user_id AND daily.day = due.day AND daily.xmin = due.seen
        RETURNING 1
    )
    SELECT count(*) FROM added
$$;

-- Makes again what the roll-ups have of the next users after one, as many as have about `most` events together but one at
-- least. Returns the last of them (null: there are no more) and how many rows were other than the events say.
--
-- Exact while they are charged: their balances are locked, so that none of them is in the middle of a charge; what comes
-- after adds to what is made here.
CREATE OR REPLACE FUNCTION rebuild_user_rollups(after_user_id bigint, most bigint) RETURNS TABLE (
    last_user_id bigint,
    accounts bigint,
    user_days bigint,
    actions bigint
)
LANGUAGE plpgsql
SET search_path FROM CURRENT
SET plan_cache_mode = force_custom_plan
SET work_mem = '64MB'
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    up_to bigint;
BEGIN
    -- A version is an event or, seldom, another booking.
    SELECT max(following.user_id) INTO last_user_id
    FROM (
        SELECT account.user_id, sum(account.version) OVER (ORDER BY account.user_id) - account.version AS before
        FROM (
            SELECT account.user_id, account.version
            FROM user_credit_balances AS account
            WHERE account.user_id > after_user_id
            ORDER BY account.user_id
            LIMIT 1000
        ) AS account
    ) AS following
    WHERE following.before < most;
    up_to := coalesce(last_user_id, 9223372036854775807);
    PERFORM account.user_id
    FROM user_credit_balances AS account
    WHERE account.user_id > after_user_id AND account.user_id <= up_to
    ORDER BY account.user_id
    FOR NO KEY UPDATE;

    -- Actions first: what they are compared with is the day that they were added up for.
    WITH wrong AS (
        UPDATE user_daily AS daily
        SET actions = NULL
        WHERE daily.user_id > after_user_id AND daily.user_id <= up_to AND daily.actions IS NOT NULL
            AND daily.actions <> actions_of_day(daily.user_id, daily.day)
        RETURNING 1
    )
    SELECT count(*) INTO actions FROM wrong;

    WITH used AS MATERIALIZED (
        SELECT event.user_id, (event.created_at AT TIME ZONE 'UTC')::date AS day, count(*) AS events,
            trim_scale(sum(event.credits_charged)) AS credits,
            coalesce(trim_scale(sum(event.api_cost)), 0) AS api_cost, max(event.created_at) AS last_at
        FROM credit_usage_events AS event
        WHERE event.user_id > after_user_id AND event.user_id <= up_to
        GROUP BY event.user_id, (event.created_at AT TIME ZONE 'UTC')::date
    ), ranked AS MATERIALIZED (
        SELECT used.*, max(used.day) OVER (PARTITION BY used.user_id) AS newest_day FROM used
    ), gone AS (
        DELETE FROM user_daily AS daily
        WHERE daily.user_id > after_user_id AND daily.user_id <= up_to AND NOT EXISTS (
            SELECT FROM ranked
            WHERE ranked.user_id = daily.user_id AND ranked.day = daily.day AND ranked.day < ranked.newest_day
        )
        RETURNING 1
    ), put AS (
        INSERT INTO user_daily AS stored (user_id, day, events, credits, api_cost, last_at)
        SELECT ranked.user_id, ranked.day, ranked.events, ranked.credits, ranked.api_cost, ranked.last_at
        FROM ranked
        LEFT JOIN user_daily AS daily ON daily.user_id = ranked.user_id AND daily.day = ranked.day
        WHERE ranked.day < ranked.newest_day
            AND (ranked.events, ranked.credits, ranked.api_cost, ranked.last_at)
                IS DISTINCT FROM (daily.events, daily.credits, daily.api_cost, daily.last_at)
        ON CONFLICT (user_id, day) DO UPDATE
        SET events = excluded.events, credits = excluded.credits, api_cost = excluded.api_cost,
            last_at = excluded.last_at, actions = NULL
        RETURNING 1
    ), newest AS (
        SELECT account.user_id, ranked.day, coalesce(ranked.events, 0) AS events,
            coalesce(ranked.credits, 0) AS credits, coalesce(ranked.api_cost, 0) AS api_cost, ranked.last_at,
            date_trunc('month', ranked.day)::date AS month
        FROM user_credit_balances AS account
        LEFT JOIN ranked ON ranked.user_id = account.user_id AND ranked.day = ranked.newest_day
        WHERE account.user_id > after_user_id AND account.user_id <= up_to
    ), months AS (
        SELECT newest.user_id, trim_scale(sum(ranked.credits) FILTER (WHERE ranked.day >= newest.month)) AS credits,
            trim_scale(
                sum(ranked.credits) FILTER (
                    WHERE ranked.day >= newest.month - interval '1 month' AND ranked.day < newest.month
                )
            ) AS previous
        FROM newest
        JOIN ranked ON ranked.user_id = newest.user_id AND ranked.day < newest.day
        GROUP BY newest.user_id
    ), settled AS (
        UPDATE user_credit_balances AS account
        SET open_day = newest.day, open_events = newest.events, open_credits = newest.credits,
            open_api_cost = newest.api_cost, last_event_at = newest.last_at, closed_month = newest.month,
            closed_month_credits = coalesce(months.credits, 0), closed_previous_credits = coalesce(months.previous, 0)
        FROM newest
        LEFT JOIN months ON months.user_id = newest.user_id
        WHERE account.user_id = newest.user_id
            AND (
                (
                    account.open_day, account.open_events, account.open_credits, account.open_api_cost,
                    account.last_event_at, account.closed_month
                ) IS DISTINCT FROM (
                    newest.day, newest.events, newest.credits, newest.api_cost, newest.last_at, newest.month
                )
                OR account.closed_month_credits < coalesce(months.credits, 0)
                OR account.closed_previous_credits < coalesce(months.previous, 0)
            )
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM settled), (SELECT count(*) FROM gone) + (SELECT count(*) FROM put)
    INTO accounts, user_days;
    RETURN NEXT;
END
$$;

-- Makes again what the roll-ups have of a day over all users: its hours, its sums, its number of users. Returns how many
-- hourly rows, daily rows and counts of users were other than the events say; an action type and a model have one each.
-- Refunds are `rebuild_refund_rollups`'.
--
-- Exact while charges run, and stops none of them: the events and the stored figures are read in one snapshot, in which
-- each charge is in both or in neither. What lacks between them is added, and adding commutes with what other charges add
-- meanwhile. The advisory lock keeps two who rebuild from adding the same twice.
CREATE OR REPLACE FUNCTION rebuild_day_rollups(of_day date) RETURNS TABLE (hours bigint, days bigint, users bigint)
LANGUAGE plpgsql
SET search_path FROM CURRENT
SET enable_seqscan = off
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    day_start timestamptz := of_day::timestamp AT TIME ZONE 'UTC';
    day_end timestamptz := day_start + interval '24 hours';
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('groat.rebuild_rollups', 0));
    WITH used AS MATERIALIZED (
        SELECT date_trunc('hour', event.created_at, 'UTC') AS hour, event.action_type, event.model_used,
            count(*) AS events, sum(event.credits_charged) AS credits, coalesce(sum(event.api_cost), 0) AS api_cost
        FROM credit_usage_events AS event
        WHERE event.created_at >= day_start AND event.created_at < day_end
        GROUP BY date_trunc('hour', event.created_at, 'UTC'), event.action_type, event.model_used
    ), lacking_hourly AS (
        SELECT part.hour, part.action_type, part.model_used, sum(part.events) AS events, sum(part.credits) AS credits,
            sum(part.api_cost) AS api_cost
        FROM (
            SELECT * FROM used
            UNION ALL
            SELECT hourly.hour, hourly.action_type, hourly.model_used, -hourly.events, -hourly.credits,
                -hourly.api_cost
            FROM usage_hourly AS hourly
            WHERE hourly.hour >= day_start AND hourly.hour < day_end
        ) AS part
        GROUP BY part.hour, part.action_type, part.model_used
        HAVING (sum(part.events), sum(part.credits), sum(part.api_cost)) <> (0, 0, 0)
    ), lacking_daily AS (
        SELECT part.action_type, part.model_used, sum(part.events) AS events, sum(part.credits) AS credits,
            sum(part.api_cost) AS api_cost
        FROM (
            SELECT used.action_type, used.model_used, used.events, used.credits, used.api_cost FROM used
            UNION ALL
            SELECT daily.action_type, daily.model_used, -daily.events, -daily.credits, -daily.api_cost
            FROM usage_daily AS daily
            WHERE daily.day = of_day
        ) AS part
        GROUP BY part.action_type, part.model_used
        HAVING (sum(part.events), sum(part.credits), sum(part.api_cost)) <> (0, 0, 0)
    ), hourly AS (
        INSERT INTO usage_hourly AS stored (hour, action_type, model_used, slot, events, credits, api_cost)
        SELECT lacking.hour, lacking.action_type, lacking.model_used, 0, lacking.events, trim_scale(lacking.credits),
            trim_scale(lacking.api_cost)
        FROM lacking_hourly AS lacking
        ORDER BY lacking.hour, lacking.action_type, lacking.model_used
        ON CONFLICT ON CONSTRAINT usage_hourly_key DO UPDATE
        SET events = stored.events + excluded.events, credits = trim_scale(stored.credits + excluded.credits),
            api_cost = trim_scale(stored.api_cost + excluded.api_cost)
        RETURNING 1
    ), daily AS (
        INSERT INTO usage_daily AS stored (day, action_type, model_used, slot, events, credits, api_cost)
        SELECT of_day, lacking.action_type, lacking.model_used, 0, lacking.events, trim_scale(lacking.credits),
            trim_scale(lacking.api_cost)
        FROM lacking_daily AS lacking
        ORDER BY lacking.action_type, lacking.model_used
        ON CONFLICT ON CONSTRAINT usage_daily_key DO UPDATE
        SET events = stored.events + excluded.events, credits = trim_scale(stored.credits + excluded.credits),
            api_cost = trim_scale(stored.api_cost + excluded.api_cost)
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM hourly), (SELECT count(*) FROM daily) INTO hours, days;

    WITH lacking AS (
        SELECT (
            SELECT count(DISTINCT event.user_id)
            FROM credit_usage_events AS event
            WHERE event.created_at >= day_start AND event.created_at < day_end
        ) - (
            SELECT coalesce(sum(counted.users), 0) FROM usage_daily_users AS counted WHERE counted.day = of_day
        ) AS users
    ), counted AS (
        INSERT INTO usage_daily_users AS stored (day, slot, users)
        SELECT of_day, 0, lacking.users FROM lacking WHERE lacking.users <> 0
        ON CONFLICT (day, slot) DO UPDATE SET users = stored.users + excluded.users
        RETURNING 1
    )
    SELECT count(*) INTO users FROM counted;
    RETURN NEXT;
END
$$;

-- Makes again what the roll-ups have of refunds, of all days, and returns how many rows lacked something. Exact as
-- `rebuild_day_rollups` is.
CREATE OR REPLACE FUNCTION rebuild_refund_rollups() RETURNS bigint
LANGUAGE plpgsql
SET search_path FROM CURRENT
SET jit = off
AS $$
DECLARE
    made bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('groat.rebuild_rollups', 0));
    WITH refunds AS MATERIALIZED (
        SELECT date_trunc('hour', event.created_at, 'UTC') AS hour, event.action_type, event.model_used,
            sum(entry.amount) AS refunded
        FROM credit_ledger_entries AS entry
        JOIN credit_usage_events AS event ON event.user_id = entry.user_id AND event.id = entry.event_id
        WHERE entry.event_id IS NOT NULL AND entry.kind = 'refund'
        GROUP BY date_trunc('hour', event.created_at, 'UTC'), event.action_type, event.model_used
    ), lacking_hourly AS (
        SELECT part.hour, part.action_type, part.model_used, sum(part.refunded) AS refunded
        FROM (
            SELECT * FROM refunds
            UNION ALL
            SELECT hourly.hour, hourly.action_type, hourly.model_used, -hourly.refunded
            FROM usage_hourly AS hourly
            WHERE hourly.refunded <> 0
        ) AS part
        GROUP BY part.hour, part.action_type, part.model_used
        HAVING sum(part.refunded) <> 0
    ), lacking_daily AS (
        SELECT part.day, part.action_type, part.model_used, sum(part.refunded) AS refunded
        FROM (
            SELECT (refunds.hour AT TIME ZONE 'UTC')::date AS day, refunds.action_type, refunds.model_used,
                refunds.refunded
            FROM refunds
            UNION ALL
            SELECT daily.day, daily.action_type, daily.model_used, -daily.refunded
            FROM usage_daily AS daily
            WHERE daily.refunded <> 0
        ) AS part
        GROUP BY part.day, part.action_type, part.model_used
        HAVING sum(part.refunded) <> 0
    ), hourly AS (
        INSERT INTO usage_hourly AS stored (hour, action_type, model_used, slot, events, credits, api_cost, refunded)
        SELECT lacking.hour, lacking.action_type, lacking.model_used, 0, 0, 0, 0, trim_scale(lacking.refunded)
        FROM lacking_hourly AS lacking
        ORDER BY lacking.hour, lacking.action_type, lacking.model_used
        ON CONFLICT ON CONSTRAINT usage_hourly_key DO UPDATE
        SET refunded = trim_scale(stored.refunded + excluded.refunded)
        RETURNING 1
    ), daily AS (
        INSERT INTO usage_daily AS stored (day, action_type, model_used, slot, events, credits, api_cost, refunded)
        SELECT lacking.day, lacking.action_type, lacking.model_used, 0, 0, 0, 0, trim_scale(lacking.refunded)
        FROM lacking_daily AS lacking
        ORDER BY lacking.day, lacking.action_type, lacking.model_used
        ON CONFLICT ON CONSTRAINT usage_daily_key DO UPDATE
        SET refunded = trim_scale(stored.refunded + excluded.refunded)
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM hourly) + (SELECT count(*) FROM daily) INTO made;
    RETURN made;
END
$$;

-- The days that have events or roll-ups, and those between.
CREATE OR REPLACE FUNCTION rollup_days() RETURNS SETOF date
LANGUAGE sql STABLE
SET search_path FROM CURRENT
AS $$
    SELECT generate_series(min(edge.day), max(edge.day), interval '1 day')::date
    FROM (
        SELECT (min(created_at) AT TIME ZONE 'UTC')::date AS day FROM credit_usage_events
        UNION ALL
        SELECT (max(created_at) AT TIME ZONE 'UTC')::date FROM credit_usage_events
        UNION ALL
        SELECT (min(hour) AT TIME ZONE 'UTC')::date FROM usage_hourly
        UNION ALL
        SELECT (max(hour) AT TIME ZONE 'UTC')::date FROM usage_hourly
        UNION ALL
        SELECT min(day) FROM usage_daily
        UNION ALL
        SELECT max(day) FROM usage_daily
        UNION ALL
        SELECT min(day) FROM usage_daily_users
        UNION ALL
        SELECT max(day) FROM usage_daily_users
    ) AS edge
$$;

-- All of it in one transaction, for a ledger that nobody is charging: every balance stays locked to its end.
CREATE OR REPLACE FUNCTION rebuild_rollups() RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    last bigint := -9223372036854775808;
BEGIN
    LOOP
        SELECT rebuilt.last_user_id INTO last FROM rebuild_user_rollups(last, 1000000) AS rebuilt;
        EXIT WHEN last IS NULL;
    END LOOP;
    PERFORM rebuild_day_rollups(day) FROM rollup_days() AS day;
    PERFORM rebuild_refund_rollups();
    LOOP
        EXIT WHEN add_up_actions(1000) = 0;
    END LOOP;
END
$$;
