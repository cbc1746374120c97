-- Each captured hold has exactly one event that names it, voided or not, booked at its capture; no other hold has any;
-- none lives longer than seven days.
WITH captures AS (
    SELECT user_id, id, hold_id, recorded_at FROM credit_usage_events WHERE hold_id IS NOT NULL
    UNION ALL
    SELECT user_id, id, hold_id, recorded_at FROM voided_credit_usage_events WHERE hold_id IS NOT NULL
)
SELECT 'hold ' || coalesce(hold.id, capture.hold_id) || ' of user ' || coalesce(hold.user_id, capture.user_id)
        AS subject,
    CASE
        WHEN hold.id IS NULL THEN 'is not there, though event ' || capture.id || ' has captured it'
        WHEN capture.id IS NULL AND hold.state = 'captured'
            THEN 'was captured by event ' || hold.event_id || ', which does not name it'
        WHEN hold.state <> 'captured' AND capture.id IS NOT NULL
            THEN 'is ' || hold.state || ', though event ' || capture.id || ' has captured it'
        WHEN hold.event_id IS DISTINCT FROM capture.id
            THEN 'names event ' || coalesce(CAST(hold.event_id AS text), 'none') || ', though event ' || capture.id
                || ' has captured it'
        WHEN hold.captured_at IS DISTINCT FROM capture.recorded_at
            THEN 'was captured at ' || coalesce(CAST(hold.captured_at AS text), 'no time')
                || ', its event booked at ' || capture.recorded_at
        ELSE 'lives from ' || hold.created_at || ' to ' || hold.expires_at
    END AS finding
FROM credit_holds AS hold
FULL JOIN captures AS capture ON capture.user_id = hold.user_id AND capture.hold_id = hold.id
WHERE hold.id IS NULL
    OR (hold.state = 'captured') IS DISTINCT FROM (capture.id IS NOT NULL)
    OR hold.event_id IS DISTINCT FROM capture.id
    OR hold.captured_at IS DISTINCT FROM capture.recorded_at
    OR hold.expires_at <= hold.created_at
    OR hold.expires_at > hold.created_at + interval '7 days'
ORDER BY coalesce(hold.user_id, capture.user_id), coalesce(hold.id, capture.hold_id), capture.id
