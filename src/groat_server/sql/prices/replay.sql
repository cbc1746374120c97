-- What moved balances in the :days days up to :as_of (null: now), for a simulation: every charge used in them, and the resets
-- and raised allowances beside them, user by user in order of version. Voided charges are not among them.
WITH span AS (
    SELECT instant - make_interval(days => CAST(:days AS integer)) AS starts_at, instant AS ends_at
    FROM (SELECT coalesce(CAST(:as_of AS timestamptz), now()) AS instant) AS moment
), settled AS (
    -- A history that was paid for elsewhere: one adjustment of the same sum was booked with its charges.
    SELECT DISTINCT entry.user_id, entry.recorded_at
    FROM credit_ledger_entries AS entry CROSS JOIN span
    WHERE entry.kind = 'adjustment' AND entry.reason = 'settled history'
        AND entry.recorded_at > span.starts_at - interval '5 minutes'
), allowances AS (
    SELECT entry.user_id, entry.recorded_at, entry.version, entry.balance_after, entry.kind, entry.amount,
        entry.kind = 'expiry' OR entry.period_start IS NOT NULL AS is_reset
    FROM credit_ledger_entries AS entry
    CROSS JOIN span
    LEFT JOIN credit_lots AS lot ON lot.user_id = entry.user_id AND lot.id = entry.lot_id
    WHERE entry.recorded_at > span.starts_at - interval '5 minutes' AND (
        entry.kind IN ('allowance', 'rollover')
        OR entry.kind = 'expiry' AND (entry.period_start IS NOT NULL OR lot.kind IN ('allowance', 'rollover'))
    )
), moves AS (
    SELECT event.user_id, event.version, event.balance_after, event.action_type, event.created_at,
        event.model_used AS model, event.provider, event.input_tokens, event.output_tokens, event.cache_read_tokens,
        event.cache_write_tokens, event.reasoning_tokens, event.quantity,
        CASE WHEN event.cost_source IN ('caller', 'action') THEN event.api_cost END AS given_cost,
        event.credits_charged, event.available_after, settled.user_id IS NOT NULL AS is_settled, false AS is_reset,
        0::numeric AS granted, 0::numeric AS rolled_over, 0::numeric AS expired
    FROM credit_usage_events AS event
    CROSS JOIN span
    LEFT JOIN settled ON settled.user_id = event.user_id AND settled.recorded_at = event.recorded_at
    WHERE event.created_at > span.starts_at AND event.created_at <= span.ends_at
    UNION ALL
    SELECT user_id, min(version), (array_agg(balance_after ORDER BY version DESC))[1], NULL, recorded_at,
        NULL, NULL, 0, 0, 0, 0, 0, NULL, NULL, 0, 0, false, is_reset,
        coalesce(sum(amount) FILTER (WHERE kind = 'allowance'), 0),
        coalesce(sum(amount) FILTER (WHERE kind = 'rollover'), 0),
        coalesce(-sum(amount) FILTER (WHERE kind = 'expiry'), 0)
    FROM allowances
    GROUP BY user_id, recorded_at, is_reset
)
SELECT moves.user_id, users.email, account.monthly_allowance, account.rollover_cap, moves.version, moves.balance_after,
    moves.action_type, moves.created_at, moves.model, moves.provider, moves.input_tokens, moves.output_tokens,
    moves.cache_read_tokens, moves.cache_write_tokens, moves.reasoning_tokens, moves.quantity, moves.given_cost,
    moves.credits_charged, moves.available_after, moves.is_settled, moves.is_reset, moves.granted, moves.rolled_over,
    moves.expired
FROM moves
JOIN users ON users.id = moves.user_id
JOIN user_credit_balances AS account ON account.user_id = moves.user_id
ORDER BY moves.user_id, moves.version
