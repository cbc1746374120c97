-- Each grant, adjustment, refund, void, raised allowance and anonymised user has its row in the audit log, and no row
-- is without its act.
WITH acts AS (
    SELECT user_id, 'grant' AS act, 'lot ' || id AS what FROM credit_lots WHERE kind IN ('purchase', 'promotion')
    UNION ALL
    SELECT user_id, kind, concat_ws(' ', 'event ' || event_id, trim_scale(amount))
    FROM credit_ledger_entries WHERE kind IN ('refund', 'adjustment')
    UNION ALL
    SELECT user_id, 'void', 'event ' || id FROM voided_credit_usage_events
    UNION ALL
    SELECT user_id, 'terms', '' FROM credit_operations WHERE verb = 'allowance'
    UNION ALL
    SELECT id, 'anonymise', '' FROM users WHERE anonymised_at IS NOT NULL
), counted AS (
    SELECT user_id, act, what, count(*) AS times FROM acts GROUP BY user_id, act, what
), logged AS (
    SELECT user_id, act,
        CASE act
            WHEN 'grant' THEN 'lot ' || (details ->> 'lot_id')
            WHEN 'void' THEN 'event ' || (details ->> 'event_id')
            WHEN 'refund' THEN concat_ws(' ', 'event ' || (details ->> 'event_id'), details ->> 'amount')
            WHEN 'adjustment' THEN details ->> 'amount'
            ELSE ''
        END AS what,
        count(*) AS times
    FROM audit_log
    WHERE act IN ('grant', 'adjustment', 'refund', 'void', 'terms', 'anonymise')
    GROUP BY 1, 2, 3
)
SELECT 'user ' || user_id AS subject,
    act || coalesce(' of ' || nullif(what, ''), '') || ': done ' || coalesce(counted.times, 0) || ' times, logged '
        || coalesce(logged.times, 0) AS finding
FROM counted
FULL JOIN logged USING (user_id, act, what)
WHERE CASE act
    WHEN 'terms' THEN counted.times > coalesce(logged.times, 0)  -- most terms change nothing that is counted here
    ELSE counted.times IS DISTINCT FROM logged.times
END
ORDER BY user_id, act, what
