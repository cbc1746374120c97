-- Each refund and void gave back as much as it says: of its event's own credits, the last ones not given back before.
WITH given AS (
    SELECT entry.user_id, entry.version, entry.event_id, entry.amount, event.version AS event_version,
        event.balance_after
    FROM credit_ledger_entries AS entry
    JOIN credit_usage_events AS event ON event.user_id = entry.user_id AND event.id = entry.event_id
    WHERE entry.kind = 'refund'
    UNION ALL
    SELECT user_id, void_version, id, credits_charged, version, balance_after
    FROM voided_credit_usage_events WHERE credits_charged > 0
), placed AS (
    -- An event's credits end where what was granted before it, less the balance that it left, does.
    SELECT user_id, version, event_id, given, coalesce(sum(granted) OVER before_event, 0) - balance_after AS last_credit
    FROM (
        SELECT user_id, event_version AS place, version, event_id, amount AS given, balance_after, 0 AS granted
        FROM given
        UNION ALL
        SELECT user_id, version, NULL, NULL, NULL, NULL, amount FROM credit_ledger_entries
        WHERE NOT (kind = 'adjustment' AND amount < 0)
        UNION ALL
        SELECT user_id, void_version, NULL, NULL, NULL, NULL, credits_charged FROM voided_credit_usage_events
    ) AS places
    WINDOW before_event AS (PARTITION BY user_id ORDER BY place)
), expected AS (
    SELECT user_id, version, last_credit - sum(given) OVER of_event AS first_credit, given AS amount
    FROM placed WHERE version IS NOT NULL
    WINDOW of_event AS (PARTITION BY user_id, event_id ORDER BY version)
), pieces AS (
    SELECT user_id, version, first_credit, amount,
        first_credit - lag(first_credit + amount) OVER (PARTITION BY user_id, version ORDER BY first_credit) AS gap
    FROM credit_lot_returns
), returned AS (
    SELECT user_id, version, min(first_credit) AS first_credit, sum(amount) AS amount, bool_or(gap <> 0) AS is_torn
    FROM pieces GROUP BY user_id, version
)
SELECT 'version ' || version || ' of user ' || user_id AS subject,
    CASE
        WHEN expected.amount IS NULL THEN 'gave back ' || returned.amount || ' and is no refund or void'
        WHEN returned.amount IS NULL THEN 'gave back nothing of ' || expected.amount
        ELSE 'gave back ' || returned.amount || ' from credit ' || trim_scale(returned.first_credit)
            || CASE WHEN returned.is_torn THEN ' on with gaps or overlaps, ' ELSE ' on, ' END
            || expected.amount || ' from credit ' || trim_scale(expected.first_credit) || ' on were due'
    END AS finding
FROM expected
FULL JOIN returned USING (user_id, version)
WHERE (expected.amount, expected.first_credit) IS DISTINCT FROM (returned.amount, returned.first_credit)
    OR returned.is_torn
ORDER BY user_id, version
