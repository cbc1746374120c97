-- Events, voided ones at their old place, voids and ledger entries of a user form one gapless chain of versions in the
-- order of booking, each balance_after following from the one before; the balance is at its end.
WITH moves AS (
    SELECT user_id, version, -credits_charged AS amount, balance_after, recorded_at FROM credit_usage_events
    UNION ALL
    SELECT user_id, version, -credits_charged, balance_after, recorded_at FROM voided_credit_usage_events
    UNION ALL
    SELECT user_id, void_version, credits_charged, void_balance_after, voided_at FROM voided_credit_usage_events
    UNION ALL
    SELECT user_id, version, amount, balance_after, recorded_at FROM credit_ledger_entries
), chain AS (
    SELECT user_id, version, amount, balance_after, recorded_at,
        lag(version, 1, 0) OVER by_version AS previous_version,
        lag(balance_after, 1, 0) OVER by_version AS previous_balance,
        lag(recorded_at) OVER by_version AS previous_recorded_at
    FROM moves
    WINDOW by_version AS (PARTITION BY user_id ORDER BY version)
), ends AS (
    SELECT user_id, max(version) AS version, max(recorded_at) AS recorded_at FROM moves GROUP BY user_id
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
SELECT 'user ' || cb.user_id,
    'is at version ' || cb.version || ' of ' || cb.last_recorded_at || ', its last row at '
        || coalesce(ends.version || ' of ' || ends.recorded_at, '0')
FROM user_credit_balances cb
LEFT JOIN ends ON ends.user_id = cb.user_id
WHERE cb.version <> coalesce(ends.version, 0) OR cb.last_recorded_at < ends.recorded_at
