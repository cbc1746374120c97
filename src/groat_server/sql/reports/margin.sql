-- What was charged, by model, against what it cost, of the hours (UTC) that begin at or after :since (null: the start of the
-- day 29 days before the last) and before :until (null: the end of the present hour); model is null where none was named.
-- credits are net of refunds and voids; value_dollars is what they are worth, each event's at the credits per dollar that it
-- pinned. margin_percent is of the value: null where there is none.
WITH ends AS (
    SELECT date_trunc(
        'hour',
        COALESCE(CAST(:until AS timestamptz), date_trunc('hour', now(), 'UTC') + interval '1 hour')
            + interval '59 minutes 59.999999 seconds',
        'UTC'
    ) AS until
), edges AS (
    SELECT until, date_trunc(
        'hour',
        COALESCE(CAST(:since AS timestamptz), date_trunc('day', until - interval '1 hour', 'UTC') - interval '696 hours')
            + interval '59 minutes 59.999999 seconds',
        'UTC'
    ) AS since
    FROM ends
), refunds AS (
    SELECT user_id, event_id, SUM(amount) AS refunded
    FROM credit_ledger_entries
    WHERE event_id IS NOT NULL AND kind = 'refund'
    GROUP BY user_id, event_id
), charged AS (
    SELECT ce.model_used, ce.credits_per_dollar, COUNT(*) AS events,
        SUM(ce.credits_charged - COALESCE(refunds.refunded, 0)) AS credits, COALESCE(SUM(ce.api_cost), 0) AS api_cost
    FROM edges
    JOIN credit_usage_events ce ON ce.created_at >= edges.since AND ce.created_at < edges.until
    LEFT JOIN refunds ON refunds.user_id = ce.user_id AND refunds.event_id = ce.id
    GROUP BY ce.model_used, ce.credits_per_dollar
), valued AS (
    SELECT model_used AS model, CAST(SUM(events) AS bigint) AS events, SUM(credits) AS credits,
        SUM(ROUND(ROUND(credits, 24) / NULLIF(credits_per_dollar, 0), 12)) AS dollars, SUM(api_cost) AS api_cost
    FROM charged
    GROUP BY model_used
)
SELECT
    model,
    events,
    trim_scale(credits) AS credits,
    COALESCE(trim_scale(dollars), 0) AS value_dollars,
    trim_scale(api_cost) AS api_cost_dollars,
    trim_scale(COALESCE(dollars, 0) - api_cost) AS margin_dollars,
    trim_scale(ROUND(100 * ROUND(dollars - api_cost, 24) / NULLIF(dollars, 0), 2)) AS margin_percent
FROM valued
ORDER BY value_dollars DESC, model
