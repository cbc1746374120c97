-- The newest :limit bookings, charges and acts of the audit log, oldest first: of user :user_id, action type :action_type,
-- model :model, of at least :credits_least credits (null: whichever). Looks through :scanned of each sort at most.
WITH charges AS (
    (
        SELECT event.*
        FROM credit_usage_events AS event
        WHERE CAST(:user_id AS bigint) IS NULL AND NOT event.occurred_at_given
        ORDER BY event.created_at DESC, event.id DESC
        LIMIT :scanned
    )
    UNION ALL
    (
        SELECT event.*
        FROM credit_usage_events AS event
        WHERE CAST(:user_id AS bigint) IS NULL AND event.occurred_at_given
        ORDER BY event.recorded_at DESC, event.id DESC
        LIMIT :scanned
    )
    UNION ALL
    (
        SELECT event.*
        FROM credit_usage_events AS event
        WHERE event.user_id = CAST(:user_id AS bigint)
        ORDER BY event.created_at DESC, event.id DESC
        LIMIT :scanned
    )
), booked AS (
    SELECT 'usage' AS kind, charge.id, charge.recorded_at, charge.created_at AS timestamp, charge.user_id,
        charge.action_type, charge.model_used AS model, charge.input_tokens, charge.output_tokens, charge.quantity,
        charge.credits_charged AS credits, charge.balance_after, charge.id AS event_id, NULL AS actor
    FROM charges AS charge
    WHERE (CAST(:action_type AS text) IS NULL OR charge.action_type = CAST(:action_type AS text))
        AND (CAST(:model AS text) IS NULL OR charge.model_used = CAST(:model AS text))
    UNION ALL
    SELECT act.act, act.id, act.recorded_at, act.recorded_at, act.user_id,
        NULL, NULL, NULL, NULL, NULL,
        CAST(act.details ->> 'amount' AS numeric), NULL, CAST(act.details ->> 'event_id' AS bigint), act.actor
    FROM audit_log AS act
    WHERE act.id > (SELECT max(id) FROM audit_log) - 1000
        AND act.act IN ('grant', 'adjustment', 'refund', 'void')
        AND (CAST(:user_id AS bigint) IS NULL OR act.user_id = CAST(:user_id AS bigint))
        AND CAST(:action_type AS text) IS NULL AND CAST(:model AS text) IS NULL
), newest AS (
    SELECT * FROM booked
    WHERE CAST(:credits_least AS numeric) IS NULL OR abs(booked.credits) >= CAST(:credits_least AS numeric)
    ORDER BY booked.recorded_at DESC, booked.id DESC
    LIMIT :limit
)
SELECT newest.kind, newest.id, newest.recorded_at, newest.timestamp, newest.user_id,
    (SELECT users.email FROM users WHERE users.id = newest.user_id) AS email, newest.action_type, newest.model,
    newest.input_tokens, newest.output_tokens, newest.quantity, newest.credits, newest.balance_after,
    newest.event_id, newest.actor
FROM newest
ORDER BY newest.recorded_at, newest.kind <> 'usage', newest.id
