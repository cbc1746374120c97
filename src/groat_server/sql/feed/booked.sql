-- What was booked since :since (null: the last minute) and is not among :seen (charges) or :seen_acts (acts of the audit
-- log): the newest :limit of it, with the instant of this look and how many there are in all, counted up to :count_max of
-- each sort. Nothing before :floor_at is returned and, of charges booked at that instant, none up to :floor_id: what a look
-- passed over has been counted. A transaction that took its instant below the floor and commits later is not in here then,
-- and in no count.
--
-- A charge that does not say when it happened has created_at = recorded_at, so the index on created_at finds it; those that
-- say so have an index of their own, on recorded_at. Acts are looked for among the newest thousand.
WITH edge AS (
    SELECT greatest(
        -- not above the present: should the server's clock have been set back, what it books now is found all the same
        least(coalesce(CAST(:since AS timestamptz), now() - interval '1 minute'), now() - interval '5 seconds'),
        CAST(:floor_at AS timestamptz)
    ) AS since
), timely AS (
    SELECT event.*
    FROM credit_usage_events AS event
    WHERE event.created_at >= (SELECT since FROM edge)
        AND NOT event.occurred_at_given
        AND (
            CAST(:floor_at AS timestamptz) IS NULL
            OR (event.recorded_at, event.id) > (CAST(:floor_at AS timestamptz), CAST(:floor_id AS bigint))
        )
        AND event.id NOT IN (SELECT unnest(CAST(:seen AS bigint[])))
    ORDER BY event.created_at DESC, event.id DESC
    LIMIT :count_max
), late AS (
    SELECT event.*
    FROM credit_usage_events AS event
    WHERE event.recorded_at >= (SELECT since FROM edge)
        AND event.occurred_at_given
        AND (
            CAST(:floor_at AS timestamptz) IS NULL
            OR (event.recorded_at, event.id) > (CAST(:floor_at AS timestamptz), CAST(:floor_id AS bigint))
        )
        AND event.id NOT IN (SELECT unnest(CAST(:seen AS bigint[])))
    ORDER BY event.recorded_at DESC, event.id DESC
    LIMIT :count_max
), acts AS (
    SELECT act.id, act.act, act.recorded_at, act.user_id, act.actor, act.details
    FROM audit_log AS act
    WHERE act.id > (SELECT max(id) FROM audit_log) - 1000
        AND act.act IN ('grant', 'adjustment', 'refund', 'void')
        AND act.recorded_at >= (SELECT since FROM edge)
        AND act.id NOT IN (SELECT unnest(CAST(:seen_acts AS bigint[])))
), booked AS (
    SELECT 'usage' AS kind, charge.id, charge.recorded_at, charge.created_at AS timestamp, charge.user_id,
        charge.action_type, charge.model_used AS model, charge.input_tokens, charge.output_tokens, charge.quantity,
        charge.credits_charged AS credits, charge.balance_after, charge.id AS event_id, NULL AS actor
    FROM (SELECT * FROM timely UNION ALL SELECT * FROM late) AS charge
    UNION ALL
    SELECT acts.act, acts.id, acts.recorded_at, acts.recorded_at, acts.user_id,
        NULL, NULL, NULL, NULL, NULL,
        CAST(acts.details ->> 'amount' AS numeric), NULL, CAST(acts.details ->> 'event_id' AS bigint), acts.actor
    FROM acts
), newest AS (
    SELECT booked.*, count(*) OVER () AS found
    FROM booked
    ORDER BY booked.recorded_at DESC, booked.id DESC
    LIMIT :limit
)
SELECT newest.kind, newest.id, newest.recorded_at, newest.timestamp, newest.user_id,
    (SELECT users.email FROM users WHERE users.id = newest.user_id) AS email, newest.action_type, newest.model,
    newest.input_tokens, newest.output_tokens, newest.quantity, newest.credits, newest.balance_after,
    newest.event_id, newest.actor, now() AS looked_at, newest.found
FROM newest
ORDER BY newest.recorded_at, newest.kind <> 'usage', newest.id
