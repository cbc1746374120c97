-- The report of the same name from the roll-ups: of days on which nothing else moved the balance their sums, of all others,
-- and of windows that are told by the hour, the events.
WITH window_of AS (
    SELECT CASE
        WHEN span.length <= interval '16 days' THEN 'hour'
        WHEN span.length <= interval '400 days' THEN 'day'
        ELSE 'week'
    END AS bucket
    FROM (
        SELECT coalesce(CAST(:until AS timestamptz), now()) - coalesce(
            CAST(:since AS timestamptz), (SELECT min(recorded_at) FROM credit_ledger_entries WHERE user_id = :user_id)
        ) AS length
    ) AS span
), others AS (
    SELECT 'void' AS kind, voided_at AS at, void_version AS version, credits_charged AS amount,
        CAST(NULL AS bigint) AS entry_id, id AS event_id, void_reason AS reason, voided_by AS actor
    FROM voided_credit_usage_events WHERE user_id = :user_id
    UNION ALL
    SELECT kind, recorded_at, version, amount, id, event_id, reason, actor
    FROM credit_ledger_entries WHERE user_id = :user_id
    UNION ALL
    SELECT 'opening', CAST(:since AS timestamptz), 0, 0, NULL, NULL, NULL, NULL
    FROM user_credit_balances WHERE user_id = :user_id AND CAST(:since AS timestamptz) IS NOT NULL
), days AS (
    SELECT daily.user_id, daily.day, daily.events, daily.credits, daily.last_at,
        coalesce(daily.day IN (SELECT CAST(at AT TIME ZONE 'UTC' AS date) FROM others), false)
            OR coalesce(daily.day = CAST(CAST(:until AS timestamptz) AT TIME ZONE 'UTC' AS date), false)
            OR (
                (SELECT bucket FROM window_of) = 'hour'
                AND coalesce(daily.day >= CAST(CAST(:since AS timestamptz) AT TIME ZONE 'UTC' AS date), true)
            ) AS is_split
    FROM (
        SELECT closed.user_id, closed.day, closed.events, closed.credits, closed.last_at
        FROM user_daily AS closed WHERE closed.user_id = :user_id
        UNION ALL
        SELECT account.user_id, account.open_day, account.open_events, account.open_credits, account.last_event_at
        FROM user_credit_balances AS account WHERE account.user_id = :user_id AND account.open_events > 0
    ) AS daily
    WHERE CAST(:until AS timestamptz) IS NULL
        OR daily.day <= CAST(CAST(:until AS timestamptz) AT TIME ZONE 'UTC' AS date)
), moves AS (
    SELECT others.*, CAST(NULL AS bigint) AS events FROM others
    UNION ALL
    SELECT 'usage', last_at, 0, -credits, NULL, NULL, NULL, NULL, events FROM days WHERE NOT is_split
    UNION ALL
    -- Each day by itself, as a range of the index by user and time: OFFSET keeps it apart from the days, and the user comes
    -- out of them, so that no plan is made for who that is.
    SELECT 'usage', event.created_at, event.version, -event.credits_charged, NULL, NULL, NULL, NULL, 1
    FROM days
    CROSS JOIN LATERAL (
        SELECT used.created_at, used.version, used.credits_charged
        FROM credit_usage_events AS used
        WHERE used.user_id = days.user_id AND used.created_at >= CAST(days.day AS timestamp) AT TIME ZONE 'UTC'
            AND used.created_at < CAST(days.day + 1 AS timestamp) AT TIME ZONE 'UTC'
        OFFSET 0
    ) AS event
    WHERE days.is_split
    UNION ALL
    SELECT 'usage', created_at, version, -credits_charged, NULL, NULL, NULL, NULL, 1
    FROM voided_credit_usage_events WHERE user_id = :user_id
), in_order AS (
    SELECT moves.*, count(*) FILTER (WHERE kind <> 'usage') OVER (ORDER BY at, version) AS segment
    FROM moves
    WHERE CAST(:until AS timestamptz) IS NULL OR at < CAST(:until AS timestamptz)
), points AS (
    SELECT at, kind, amount, events, entry_id, event_id, reason, actor, segment
    FROM in_order WHERE kind <> 'usage'
    UNION ALL
    SELECT max(at), 'usage', sum(amount), CAST(sum(events) AS bigint), NULL, NULL, NULL, NULL, segment
    FROM in_order
    CROSS JOIN window_of
    WHERE kind = 'usage'
    GROUP BY segment, date_trunc(window_of.bucket, at, 'UTC')
), line AS (
    SELECT points.*, sum(amount) OVER (ORDER BY segment, kind = 'usage', at) AS balance
    FROM points
)
SELECT at, kind, amount, balance, events, entry_id, event_id, reason, actor
FROM (
    SELECT at, kind, trim_scale(amount) AS amount, trim_scale(balance) AS balance, events, entry_id, event_id, reason,
        actor, segment
    FROM line
    WHERE CAST(:since AS timestamptz) IS NULL OR at >= CAST(:since AS timestamptz)
    ORDER BY segment DESC, kind = 'usage' DESC, at DESC
    LIMIT 2000
) AS newest
ORDER BY segment, kind = 'usage', at
