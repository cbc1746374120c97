-- Every stored amount is finite, within its bounds, of the right sign, and has at most 12 decimals and no trailing
-- zero; token counts are within theirs.
WITH amounts AS (
    SELECT 'user ' || user_id AS subject, amount.name, amount.value, amount.least, amount.most
    FROM user_credit_balances
    CROSS JOIN LATERAL (VALUES
        ('current_balance', current_balance, -1e15, 1e15), ('monthly_allowance', monthly_allowance, 0, 1e12),
        ('current_month_consumed', current_month_consumed, 0, 1e15), ('total_consumed', total_consumed, 0, 1e15),
        ('overdraft_limit', overdraft_limit, 0, 1e12), ('rollover_cap', rollover_cap, 0, 1e12),
        ('total_voided', total_voided, 0, 1e15), ('allocated', allocated, 0, 1e15)
    ) AS amount(name, value, least, most)
    UNION ALL
    SELECT 'event ' || id || ' of user ' || user_id, amount.name, amount.value, amount.least, amount.most
    FROM credit_usage_events
    CROSS JOIN LATERAL (VALUES
        ('credits_charged', credits_charged, 0, 1e12), ('api_cost', api_cost, 0, 1e6),
        ('balance_after', balance_after, -1e15, 1e15), ('available_after', available_after, -2e15, 2e15)
    ) AS amount(name, value, least, most)
    UNION ALL
    SELECT 'event ' || id || ' of user ' || user_id, amount.name, amount.value, amount.least, amount.most
    FROM voided_credit_usage_events
    CROSS JOIN LATERAL (VALUES
        ('credits_charged', credits_charged, 0, 1e12), ('api_cost', api_cost, 0, 1e6),
        ('balance_after', balance_after, -1e15, 1e15), ('available_after', available_after, -2e15, 2e15),
        ('void_balance_after', void_balance_after, -1e15, 1e15)
    ) AS amount(name, value, least, most)
    UNION ALL
    SELECT 'version ' || version || ' of user ' || user_id, amount.name, amount.value, amount.least, amount.most
    FROM credit_ledger_entries
    CROSS JOIN LATERAL (VALUES
        (
            'amount', nullif(amount, 0), CASE WHEN kind IN ('expiry', 'adjustment') THEN -1e15 ELSE 0 END,
            CASE kind WHEN 'expiry' THEN 0 ELSE 1e15 END
        ),
        ('balance_after', balance_after, -1e15, 1e15)
    ) AS amount(name, value, least, most)
    UNION ALL
    SELECT 'lot ' || id || ' of user ' || user_id, amount.name, amount.value, amount.least, amount.most
    FROM credit_lots
    CROSS JOIN LATERAL (VALUES
        ('amount', amount, 1e-12, 1e15), ('remaining', remaining, 0, amount), ('cost_basis', cost_basis, 0, 1e6)
    ) AS amount(name, value, least, most)
    UNION ALL
    SELECT 'draw ' || id || ' of user ' || user_id, amount.name, amount.value, amount.least, amount.most
    FROM credit_lot_draws
    CROSS JOIN LATERAL (VALUES ('amount', amount, 1e-12, 1e15), ('first_credit', first_credit, 0, 1e15))
        AS amount(name, value, least, most)
    UNION ALL
    SELECT 'version ' || version || ' of user ' || user_id, 'returned amount', amount, 1e-12, 1e15
    FROM credit_lot_returns
    UNION ALL
    SELECT 'hold ' || id || ' of user ' || user_id, 'amount', amount, 0, 1e12 FROM credit_holds
)
SELECT subject, name || ' is ' || value AS finding
FROM amounts
WHERE NOT (value BETWEEN least AND most AND scale(value) <= 12 AND scale(value) = min_scale(value))
UNION ALL
SELECT 'version ' || version || ' of user ' || user_id, 'amount is 0' FROM credit_ledger_entries WHERE amount = 0
UNION ALL
SELECT 'event ' || id || ' of user ' || user_id,
    'has the factors ' || credits_per_dollar || ' and ' || multiplier || ' and the tokens ' || input_tokens || ' ('
        || cache_read_tokens || ' read from and ' || cache_write_tokens || ' written to a cache) and ' || output_tokens
        || ' (' || reasoning_tokens || ' of reasoning)'
FROM (
    SELECT user_id, id, credits_per_dollar, multiplier, input_tokens, output_tokens, cache_read_tokens,
        cache_write_tokens, reasoning_tokens
    FROM credit_usage_events
    UNION ALL
    SELECT user_id, id, credits_per_dollar, multiplier, input_tokens, output_tokens, cache_read_tokens,
        cache_write_tokens, reasoning_tokens
    FROM voided_credit_usage_events
) AS events
WHERE NOT (
    credits_per_dollar > 0 AND credits_per_dollar <= 1e6 AND multiplier BETWEEN 0 AND 1e3
    AND input_tokens BETWEEN 0 AND 1000000000 AND output_tokens BETWEEN 0 AND 1000000000
    AND cache_read_tokens >= 0 AND cache_write_tokens >= 0
    AND CAST(cache_read_tokens AS bigint) + cache_write_tokens <= input_tokens
    AND reasoning_tokens BETWEEN 0 AND output_tokens
)
