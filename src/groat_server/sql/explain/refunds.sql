-- What was given back of one event of a user, oldest first.
SELECT id, kind, amount, recorded_at, period_start, balance_after, version, event_id, lot_id, reason, actor
FROM credit_ledger_entries
WHERE user_id = :user_id AND event_id = :event_id AND kind = 'refund'
ORDER BY version
