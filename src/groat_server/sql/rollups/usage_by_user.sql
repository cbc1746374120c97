-- The report `usage` by user from the roll-ups, where nothing but the window is asked for: the users of most credits
-- first, then the buckets of these alone; what is left of everyone's sums is the others'. All comes from sums of days
-- (UTC): each is counted in the bucket that has most of its hours, and hours that belong elsewhere are taken out of it
-- and put there.
--
-- Who used most is found by a threshold. What a user did since the window began is bounded by what the balance row has
-- of the months that it touches, or by everything the user ever did. The users of the highest bounds are added up, and
-- then all whose bound reaches the last of those. Of a window of few events these are read instead.
WITH ends AS (
    SELECT date_trunc(
        'hour',
        coalesce(CAST(:until AS timestamptz), date_trunc('hour', now(), 'UTC') + interval '1 hour')
            + interval '59 minutes 59.999999 seconds',
        'UTC'
    ) AS until
), edges AS MATERIALIZED (
    SELECT ends.until, date_trunc(
        'hour',
        coalesce(
            CAST(:since AS timestamptz),
            (
                date_trunc('day', (ends.until - interval '1 hour') AT TIME ZONE CAST(:time_zone AS text))
                - make_interval(days => CASE CAST(:bucket AS text) WHEN 'hour' THEN 1 ELSE 29 END)
            ) AT TIME ZONE CAST(:time_zone AS text)
        ) + interval '59 minutes 59.999999 seconds',
        'UTC'
    ) AS since,
        -- With nothing after the window, its last day is as good as whole.
        EXISTS (SELECT FROM credit_usage_events AS event WHERE event.created_at >= ends.until) AS has_later
    FROM ends
), clock AS MATERIALIZED (
    -- The hours of each day that the window touches and that has usage, with the bucket of each; null: outside.
    SELECT CAST(days.start AT TIME ZONE 'UTC' AS date) AS day, days.start + hours.number * interval '1 hour' AS hour,
        days.start + hours.number * interval '1 hour' < edges.since AS is_before,
        CASE
            WHEN days.start + hours.number * interval '1 hour' < edges.since THEN NULL
            WHEN days.start + hours.number * interval '1 hour' >= edges.until AND edges.has_later THEN NULL
            WHEN CAST(:bucket AS text) = 'all' THEN edges.since
            WHEN CAST(:bucket AS text) = 'hour' THEN days.start + hours.number * interval '1 hour'
            ELSE date_trunc(
                'day',
                LEAST(days.start + hours.number * interval '1 hour', edges.until - interval '1 hour'),
                CAST(:time_zone AS text)
            )
        END AS bucket
    FROM edges
    CROSS JOIN LATERAL generate_series(
        GREATEST(
            date_trunc('day', edges.since, 'UTC'),
            CAST((SELECT MIN(daily.day) FROM usage_daily AS daily) AS timestamp) AT TIME ZONE 'UTC'
        ),
        LEAST(
            date_trunc('day', edges.until - interval '1 hour', 'UTC'),
            CAST((SELECT MAX(daily.day) FROM usage_daily AS daily) AS timestamp) AT TIME ZONE 'UTC'
        ),
        interval '24 hours'
    ) AS days(start)
    CROSS JOIN generate_series(0, 23) AS hours(number)
    WHERE edges.since < edges.until
), homes AS MATERIALIZED (
    -- The bucket that has most hours of a day; a day of which none has has no home.
    SELECT clock.day, clock.bucket
    FROM clock
    WHERE clock.bucket IS NOT NULL
    GROUP BY clock.day, clock.bucket
    HAVING COUNT(*) > 12
), pieces AS MATERIALIZED (
    -- Hours of a day that belong to another bucket than its home, or to none.
    SELECT clock.day, MIN(clock.hour) AS since, MAX(clock.hour) + interval '1 hour' AS until, clock.bucket,
        homes.bucket AS home
    FROM clock
    LEFT JOIN homes ON homes.day = clock.day
    WHERE clock.bucket IS DISTINCT FROM homes.bucket
    GROUP BY clock.day, clock.bucket, homes.bucket, clock.is_before
), everyone AS MATERIALIZED (
    SELECT part.bucket, SUM(part.events) AS events, SUM(part.credits) AS credits, SUM(part.api_cost) AS api_cost,
        SUM(part.refunded) AS refunded
    FROM (
        SELECT homes.bucket, summed.*
        FROM homes
        CROSS JOIN LATERAL (
            SELECT SUM(daily.events) AS events, SUM(daily.credits) AS credits, SUM(daily.api_cost) AS api_cost,
                SUM(daily.refunded) AS refunded
            FROM usage_daily AS daily
            WHERE daily.day = homes.day
        ) AS summed
        UNION ALL
        SELECT belonging.bucket, belonging.sign * summed.events, belonging.sign * summed.credits,
            belonging.sign * summed.api_cost, belonging.sign * summed.refunded
        FROM pieces
        CROSS JOIN LATERAL (
            SELECT SUM(hourly.events) AS events, SUM(hourly.credits) AS credits, SUM(hourly.api_cost) AS api_cost,
                SUM(hourly.refunded) AS refunded
            FROM usage_hourly AS hourly
            WHERE hourly.hour >= pieces.since AND hourly.hour < pieces.until
        ) AS summed
        CROSS JOIN LATERAL (VALUES (pieces.bucket, 1), (pieces.home, -1)) AS belonging(bucket, sign)
    ) AS part
    WHERE part.bucket IS NOT NULL AND part.events IS NOT NULL
    GROUP BY part.bucket
), inside AS MATERIALIZED (
    -- The days that are more within the window than without.
    SELECT clock.day, COUNT(clock.bucket) > 12 AS is_counted FROM clock GROUP BY clock.day
), span AS MATERIALIZED (
    SELECT MIN(inside.day) FILTER (WHERE inside.is_counted) AS first,
        MAX(inside.day) FILTER (WHERE inside.is_counted) AS last,
        (SELECT SUM(everyone.events) FROM everyone) <= 60000 AS is_short
    FROM inside
), margins AS MATERIALIZED (
    -- What that is wrong by.
    SELECT MIN(clock.hour) AS since, MAX(clock.hour) + interval '1 hour' AS until,
        CASE WHEN inside.is_counted THEN -1 ELSE 1 END AS sign
    FROM clock
    JOIN inside ON inside.day = clock.day
    WHERE (clock.bucket IS NOT NULL) <> inside.is_counted
    GROUP BY clock.day, inside.is_counted, clock.is_before
), likely AS MATERIALIZED (
    SELECT bounded.user_id
    FROM (
        SELECT account.user_id,
            CASE
                WHEN account.open_day = CAST(edges.since AT TIME ZONE 'UTC' AS date) THEN account.open_credits
                WHEN account.closed_month = months.first THEN account.open_credits + account.closed_month_credits
                WHEN account.closed_month = months.second
                    THEN account.open_credits + account.closed_month_credits + account.closed_previous_credits
                ELSE account.total_consumed
            END AS bound
        FROM edges
        CROSS JOIN LATERAL (
            SELECT CAST(date_trunc('month', edges.since AT TIME ZONE 'UTC') AS date) AS first,
                CAST(date_trunc('month', edges.since AT TIME ZONE 'UTC') + interval '1 month' AS date) AS second
        ) AS months
        JOIN user_credit_balances AS account ON account.last_event_at >= edges.since
        WHERE NOT (SELECT is_short FROM span)
        ORDER BY bound DESC, account.user_id
        LIMIT 3 * CAST(:series AS bigint)
    ) AS bounded
), threshold AS MATERIALIZED (
    SELECT CASE WHEN COUNT(*) = CAST(:series AS bigint) THEN MIN(most.credits) ELSE 0 END AS credits
    FROM (
        SELECT summed.credits
        FROM likely
        CROSS JOIN LATERAL (
            SELECT SUM(part.events) AS events, SUM(part.credits) AS credits
            FROM (
                SELECT daily.events, daily.credits
                FROM user_daily AS daily
                WHERE daily.user_id = likely.user_id
                    AND daily.day >= (SELECT first FROM span) AND daily.day <= (SELECT last FROM span)
                UNION ALL
                SELECT account.open_events, account.open_credits
                FROM user_credit_balances AS account
                WHERE account.user_id = likely.user_id
                    AND account.open_day >= (SELECT first FROM span) AND account.open_day <= (SELECT last FROM span)
                UNION ALL
                SELECT margins.sign * used.events, margins.sign * used.credits
                FROM margins
                CROSS JOIN LATERAL (
                    SELECT COUNT(*) AS events, SUM(event.credits_charged) AS credits
                    FROM credit_usage_events AS event
                    WHERE event.user_id = likely.user_id
                        AND event.created_at >= margins.since AND event.created_at < margins.until
                ) AS used
            ) AS part
        ) AS summed
        WHERE summed.events > 0
        ORDER BY summed.credits DESC
        LIMIT CAST(:series AS bigint)
    ) AS most
), candidates AS MATERIALIZED (
    SELECT account.user_id
    FROM edges
    CROSS JOIN LATERAL (
        SELECT CAST(date_trunc('month', edges.since AT TIME ZONE 'UTC') AS date) AS first,
            CAST(date_trunc('month', edges.since AT TIME ZONE 'UTC') + interval '1 month' AS date) AS second
    ) AS months
    JOIN user_credit_balances AS account ON account.last_event_at >= edges.since
    WHERE NOT (SELECT is_short FROM span)
        AND CASE
            WHEN account.open_day = CAST(edges.since AT TIME ZONE 'UTC' AS date) THEN account.open_credits
            WHEN account.closed_month = months.first THEN account.open_credits + account.closed_month_credits
            WHEN account.closed_month = months.second
                THEN account.open_credits + account.closed_month_credits + account.closed_previous_credits
            ELSE account.total_consumed
        END >= (SELECT credits FROM threshold)
), named AS MATERIALIZED (
    SELECT ranked.user_id, ROW_NUMBER() OVER (ORDER BY ranked.credits DESC, ranked.user_id) AS place
    FROM (
        SELECT found.user_id, found.credits
        FROM (
            SELECT candidates.user_id, summed.credits
            FROM candidates
            CROSS JOIN LATERAL (
                SELECT SUM(part.events) AS events, SUM(part.credits) AS credits
                FROM (
                    SELECT daily.events, daily.credits
                    FROM user_daily AS daily
                    WHERE daily.user_id = candidates.user_id
                        AND daily.day >= (SELECT first FROM span) AND daily.day <= (SELECT last FROM span)
                    UNION ALL
                    SELECT account.open_events, account.open_credits
                    FROM user_credit_balances AS account
                    WHERE account.user_id = candidates.user_id
                        AND account.open_day >= (SELECT first FROM span) AND account.open_day <= (SELECT last FROM span)
                    UNION ALL
                    SELECT margins.sign * used.events, margins.sign * used.credits
                    FROM margins
                    CROSS JOIN LATERAL (
                        SELECT COUNT(*) AS events, SUM(event.credits_charged) AS credits
                        FROM credit_usage_events AS event
                        WHERE event.user_id = candidates.user_id
                            AND event.created_at >= margins.since AND event.created_at < margins.until
                    ) AS used
                ) AS part
            ) AS summed
            WHERE summed.events > 0
            UNION ALL
            SELECT event.user_id, SUM(event.credits_charged)
            FROM credit_usage_events AS event
            WHERE (SELECT is_short FROM span)
                AND event.created_at >= (SELECT since FROM edges) AND event.created_at < (SELECT until FROM edges)
            GROUP BY event.user_id
        ) AS found
        ORDER BY found.credits DESC, found.user_id
        LIMIT CAST(:series AS bigint)
    ) AS ranked
), days AS MATERIALIZED (
    -- The days of the named users.
    SELECT named.user_id, daily.*
    FROM named
    CROSS JOIN LATERAL (
        SELECT daily.day, daily.events, daily.credits, daily.api_cost, daily.actions
        FROM user_daily AS daily
        WHERE daily.user_id = named.user_id
            AND daily.day >= (SELECT MIN(inside.day) FROM inside) AND daily.day <= (SELECT MAX(inside.day) FROM inside)
        UNION ALL
        SELECT account.open_day, account.open_events, account.open_credits, account.open_api_cost, NULL
        FROM user_credit_balances AS account
        WHERE account.user_id = named.user_id
    ) AS daily
), used AS (
    SELECT part.user_id, part.bucket, SUM(part.events) AS events, SUM(part.credits) AS credits,
        SUM(part.api_cost) AS api_cost, SUM(part.refunded) AS refunded
    FROM (
        SELECT days.user_id, homes.bucket, days.events, days.credits, days.api_cost, 0 AS refunded
        FROM homes
        JOIN days ON days.day = homes.day
        UNION ALL
        SELECT days.user_id, belonging.bucket, belonging.sign * summed.events, belonging.sign * summed.credits,
            belonging.sign * summed.api_cost, 0
        FROM pieces
        JOIN days ON days.day = pieces.day
        CROSS JOIN LATERAL (
            SELECT SUM(one.events) AS events, SUM(one.credits) AS credits, SUM(one.api_cost) AS api_cost
            FROM (
                SELECT CAST(action.figures -> 0 AS bigint) AS events, CAST(action.figures -> 1 AS numeric) AS credits,
                    CAST(action.figures -> 2 AS numeric) AS api_cost
                FROM generate_series(
                    EXTRACT(hour FROM pieces.since AT TIME ZONE 'UTC'),
                    EXTRACT(hour FROM (pieces.until - interval '1 hour') AT TIME ZONE 'UTC')
                ) AS hours(number)
                CROSS JOIN LATERAL jsonb_each(days.actions -> 'hours' -> CAST(hours.number AS text))
                    AS action(type, figures)
                WHERE days.actions IS NOT NULL
                UNION ALL
                SELECT 1, event.credits_charged, COALESCE(event.api_cost, 0)
                FROM credit_usage_events AS event
                WHERE days.actions IS NULL AND event.user_id = days.user_id
                    AND event.created_at >= pieces.since AND event.created_at < pieces.until
            ) AS one
        ) AS summed
        CROSS JOIN LATERAL (VALUES (pieces.bucket, 1), (pieces.home, -1)) AS belonging(bucket, sign)
        WHERE summed.events IS NOT NULL
        UNION ALL
        SELECT named.user_id,
            CASE CAST(:bucket AS text)
                WHEN 'hour' THEN date_trunc('hour', refund.created_at, 'UTC')
                WHEN 'day' THEN date_trunc(
                    'day', date_trunc('hour', refund.created_at, 'UTC'), CAST(:time_zone AS text)
                )
                ELSE (SELECT since FROM edges)
            END,
            0, 0, 0, refund.amount
        FROM named
        CROSS JOIN LATERAL (
            SELECT event.created_at, entry.amount
            FROM credit_ledger_entries AS entry
            CROSS JOIN LATERAL (
                SELECT * FROM credit_usage_events WHERE user_id = entry.user_id AND id = entry.event_id LIMIT 1
            ) AS event
            WHERE entry.user_id = named.user_id AND entry.event_id IS NOT NULL AND entry.kind = 'refund'
        ) AS refund
        WHERE refund.created_at >= (SELECT since FROM edges) AND refund.created_at < (SELECT until FROM edges)
    ) AS part
    WHERE part.bucket IS NOT NULL
    GROUP BY part.user_id, part.bucket
), found AS (
    SELECT used.bucket, users.email AS series, named.place, used.events, used.credits, used.refunded, used.api_cost
    FROM used
    JOIN named ON named.user_id = used.user_id
    JOIN users ON users.id = used.user_id
    UNION ALL
    -- The others: what of everyone's is not these users'.
    SELECT everyone.bucket, NULL, CAST(:series AS bigint) + 1, everyone.events - COALESCE(SUM(used.events), 0),
        everyone.credits - COALESCE(SUM(used.credits), 0), everyone.refunded - COALESCE(SUM(used.refunded), 0),
        everyone.api_cost - COALESCE(SUM(used.api_cost), 0)
    FROM everyone
    LEFT JOIN used ON used.bucket = everyone.bucket
    GROUP BY everyone.bucket, everyone.events, everyone.credits, everyone.refunded, everyone.api_cost
)
SELECT
    found.bucket,
    found.series,
    found.place > CAST(:series AS bigint) AS is_other,
    CAST(found.events AS bigint) AS events,
    trim_scale(found.credits) AS credits,
    trim_scale(found.refunded) AS refunded_credits,
    trim_scale(found.credits - found.refunded) AS net_credits,
    trim_scale(found.api_cost) AS api_cost_dollars
FROM found
WHERE found.events > 0
ORDER BY found.bucket, found.place
