-- Every balance is the sum of its ledger entries less what its events consumed; a voided event and its void cancel out.
SELECT 'user ' || cb.user_id AS subject,
    'balance ' || cb.current_balance || ', ledger entries ' || coalesce(entries.amount, 0) || ', events '
        || coalesce(events.credits, 0) AS finding
FROM user_credit_balances cb
LEFT JOIN (SELECT user_id, sum(amount) AS amount FROM credit_ledger_entries GROUP BY user_id) AS entries
    ON entries.user_id = cb.user_id
LEFT JOIN (SELECT user_id, sum(credits_charged) AS credits FROM credit_usage_events GROUP BY user_id) AS events
    ON events.user_id = cb.user_id
WHERE cb.current_balance <> coalesce(entries.amount, 0) - coalesce(events.credits, 0)
ORDER BY cb.user_id
