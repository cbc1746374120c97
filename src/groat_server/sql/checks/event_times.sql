-- A use happened when it was booked unless its time was given, and never more than five minutes later than that.
WITH events AS (
    SELECT user_id, id, created_at, recorded_at, occurred_at_given FROM credit_usage_events
    UNION ALL
    SELECT user_id, id, created_at, recorded_at, occurred_at_given FROM voided_credit_usage_events
)
SELECT 'event ' || id || ' of user ' || user_id AS subject,
    'is of ' || created_at || ', was booked at ' || recorded_at
        || CASE WHEN occurred_at_given THEN '' ELSE ', and no time was given' END AS finding
FROM events
WHERE created_at > recorded_at + interval '5 minutes' OR (NOT occurred_at_given AND created_at <> recorded_at)
ORDER BY user_id, id
