-- Events and ledger entries of a user form one gapless chain of versions, each balance_after following from the one before.
WITH moves AS (
    SELECT user_id, version, -credits_charged AS amount, balance_after, recorded_at FROM credit_usage_events
    UNION ALL
    SELECT user_id, version, amount, balance_after, recorded_at FROM credit_ledger_entries
), chain AS (
    SELECT user_id, version, amount, balance_after, recorded_at,
        lag(version, 1, 0) OVER by_version AS previous_version,
        lag(balance_after, 1, 0) OVER by_version AS previous_balance,
        lag(recorded_at) OVER by_version AS previous_recorded_at
    FROM moves
    WINDOW by_version AS (PARTITION BY user_id ORDER BY version)
)
SELECT 'version ' || version || ' of user ' || user_id AS subject,
    CASE
        WHEN version <> previous_version + 1 THEN 'follows version ' || previous_version
        WHEN recorded_at < previous_recorded_at THEN 'was booked before version ' || previous_version
        ELSE 'leaves ' || balance_after || ', ' || previous_balance || ' and ' || amount || ' come to '
            || trim_scale(previous_balance + amount)
    END AS finding
FROM chain
WHERE version <> previous_version + 1
    OR balance_after <> previous_balance + amount
    OR recorded_at < previous_recorded_at
UNION ALL
SELECT 'user ' || cb.user_id, 'is at version ' || cb.version || ', its last row at ' || coalesce(max(moves.version), 0)
FROM user_credit_balances cb
LEFT JOIN moves ON moves.user_id = cb.user_id
GROUP BY cb.user_id
HAVING cb.version <> coalesce(max(moves.version), 0)
