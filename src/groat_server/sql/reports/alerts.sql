-- The newest :limit alerts: a charge took a user's balance down to a threshold of the ledger's setting alert_below.
SELECT alert.id, alert.user_id, users.email, users.full_name, alert.threshold, alert.balance_before, alert.balance_after,
    alert.recorded_at
FROM credit_alerts AS alert
JOIN users ON users.id = alert.user_id
ORDER BY alert.recorded_at DESC, alert.id DESC
LIMIT :limit
