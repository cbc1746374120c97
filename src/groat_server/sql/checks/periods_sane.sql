-- A period lasts at least 28 days on a calendar and ends within two months; what it brings came once, at its start, and
-- an allowance lasts exactly as long as its period.
SELECT 'user ' || user_id AS subject, 'has a period from ' || period_start || ' to ' || next_reset_at AS finding
FROM user_credit_balances
-- 28 days on a calendar are an hour or two short of 27 or more by the clock, where zone or anchor have changed.
WHERE next_reset_at - period_start < interval '26 days 22 hours' OR next_reset_at - period_start > interval '62 days'
UNION ALL
SELECT 'user ' || user_id, 'has ' || count(*) || ' entries ' || kind || ' of the period from ' || period_start
FROM credit_ledger_entries
WHERE period_start IS NOT NULL
GROUP BY user_id, kind, period_start
HAVING count(*) > 1
UNION ALL
SELECT 'version ' || version || ' of user ' || user_id,
    'is of the period from ' || period_start || ', and was booked at ' || recorded_at
FROM credit_ledger_entries
WHERE period_start <> recorded_at AND version > 1
UNION ALL
SELECT 'lot ' || lot.id || ' of user ' || lot.user_id,
    'is an allowance to ' || coalesce(CAST(lot.expires_at AS text), 'no end') || ', the period lasts from '
        || cb.period_start || ' to ' || cb.next_reset_at
FROM credit_lots AS lot
JOIN user_credit_balances cb ON cb.user_id = lot.user_id
WHERE lot.kind IN ('allowance', 'rollover')
    AND lot.expires_at IS DISTINCT FROM cb.next_reset_at
    AND (lot.starts_at >= cb.period_start OR coalesce(lot.expires_at > cb.period_start, true))
