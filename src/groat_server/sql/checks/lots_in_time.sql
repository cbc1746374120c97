-- A lot counts from its start to its end: by the last booking, and in any case five minutes later, it has started or is
-- gone; and it paid for nothing that was consumed after its end.
WITH expiries AS (
    -- What had been consumed by then: what had been granted, less what was left.
    SELECT user_id, version, lot_id, sum(granted) OVER until_then - balance_after AS consumed
    FROM (
        SELECT user_id, version, CASE kind WHEN 'expiry' THEN lot_id END AS lot_id, amount AS granted, balance_after
        FROM credit_ledger_entries WHERE NOT (kind = 'adjustment' AND amount < 0)
        UNION ALL
        SELECT user_id, void_version, NULL, credits_charged, void_balance_after FROM voided_credit_usage_events
    ) AS moves
    WINDOW until_then AS (PARTITION BY user_id ORDER BY version)
), draws AS (
    SELECT user_id, lot_id, max(first_credit + amount) AS last_credit
    FROM credit_lot_draws WHERE lot_id IS NOT NULL GROUP BY user_id, lot_id
)
SELECT 'lot ' || lot.id || ' of user ' || lot.user_id AS subject,
    CASE
        WHEN lot.version IS NULL THEN 'does not count yet, though it starts at ' || lot.starts_at
        WHEN lot.starts_at > cb.last_recorded_at THEN 'counts already, though it starts at ' || lot.starts_at
        ELSE 'has ' || lot.remaining || ' left, though it ended at ' || lot.expires_at
    END AS finding
FROM credit_lots AS lot
JOIN user_credit_balances cb ON cb.user_id = lot.user_id
WHERE CASE
    WHEN lot.version IS NULL THEN lot.starts_at <= greatest(cb.last_recorded_at, now() - interval '5 minutes')
    ELSE lot.starts_at > cb.last_recorded_at
        OR (lot.remaining > 0 AND lot.expires_at <= greatest(cb.last_recorded_at, now() - interval '5 minutes'))
END
UNION ALL
SELECT 'lot ' || expiries.lot_id || ' of user ' || expiries.user_id,
    'paid up to credit ' || trim_scale(draws.last_credit) || ', and expired when ' || trim_scale(expiries.consumed)
        || ' had been consumed'
FROM expiries
JOIN draws ON draws.user_id = expiries.user_id AND draws.lot_id = expiries.lot_id
WHERE draws.last_credit > expiries.consumed
