-- The balance of user :user_id from :since until before :until (null: no bound), as points of a line: each thing that moved it by
-- itself and, between those, all usage of an hour (of windows up to 16 days), a day (up to 400 days) or a week as one point, at
-- its last event. Each use counts when it happened, also where it was booked later; what was voided is usage and, when it was
-- voided, a void. With :since, the first point is the balance then. Of more than 2,000 points the newest.
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
), moves AS (
    SELECT 'usage' AS kind, created_at AS at, version, -credits_charged AS amount, CAST(NULL AS bigint) AS entry_id,
        CAST(NULL AS bigint) AS event_id, NULL AS reason, NULL AS actor
    FROM credit_usage_events WHERE user_id = :user_id
    UNION ALL
    SELECT 'usage', created_at, version, -credits_charged, NULL, NULL, NULL, NULL
    FROM voided_credit_usage_events WHERE user_id = :user_id
    UNION ALL
    SELECT 'void', voided_at, void_version, credits_charged, NULL, id, void_reason, voided_by
    FROM voided_credit_usage_events WHERE user_id = :user_id
    UNION ALL
    SELECT kind, recorded_at, version, amount, id, event_id, reason, actor
    FROM credit_ledger_entries WHERE user_id = :user_id
    UNION ALL
    SELECT 'opening', CAST(:since AS timestamptz), 0, 0, NULL, NULL, NULL, NULL
    FROM user_credit_balances WHERE user_id = :user_id AND CAST(:since AS timestamptz) IS NOT NULL
), in_order AS (
    SELECT moves.*, count(*) FILTER (WHERE kind <> 'usage') OVER (ORDER BY at, version) AS segment
    FROM moves
    WHERE CAST(:until AS timestamptz) IS NULL OR at < CAST(:until AS timestamptz)
), points AS (
    SELECT at, kind, amount, CAST(NULL AS bigint) AS events, entry_id, event_id, reason, actor, segment
    FROM in_order WHERE kind <> 'usage'
    UNION ALL
    SELECT max(at), 'usage', sum(amount), count(*), NULL, NULL, NULL, NULL, segment
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
