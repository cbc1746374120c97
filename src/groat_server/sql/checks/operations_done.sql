-- Each grant, adjustment, refund, void, hold and raised allowance has its key, and each of their keys the effect that
-- was answered.
WITH answers AS (
    SELECT user_id, verb, idempotency_key,
        CAST(answer ->> 'version' AS bigint) AS version, CAST(answer ->> 'amount' AS numeric) AS amount,
        CAST(answer ->> 'lot_id' AS bigint) AS lot_id, CAST(answer ->> 'hold_id' AS bigint) AS hold_id
    FROM credit_operations
), answered AS (
    SELECT user_id,
        CASE WHEN verb IN ('grant', 'allowance') THEN 'lot' WHEN verb = 'hold' THEN 'hold' ELSE 'version' END AS what,
        CASE WHEN verb IN ('grant', 'allowance') THEN lot_id WHEN verb = 'hold' THEN hold_id ELSE version END AS number,
        verb, amount, CASE verb WHEN 'hold' THEN idempotency_key END AS hold_key
    FROM answers
    WHERE verb <> 'allowance' OR lot_id IS NOT NULL
), effects AS (
    SELECT user_id, 'lot' AS what, id AS number, 'grant' AS verb, amount, NULL AS hold_key
    FROM credit_lots WHERE kind IN ('purchase', 'promotion')
    UNION ALL
    -- An allowance that no period brought.
    SELECT user_id, 'lot', lot_id, 'allowance', amount, NULL
    FROM credit_ledger_entries WHERE kind = 'allowance' AND period_start IS NULL
    UNION ALL
    SELECT user_id, 'hold', id, 'hold', amount, idempotency_key FROM credit_holds
    UNION ALL
    SELECT user_id, 'version', void_version, 'void', credits_charged, NULL FROM voided_credit_usage_events
    UNION ALL
    -- Settled history adjusts under no key; its lots come before all others.
    SELECT entry.user_id, 'version', entry.version, entry.kind, entry.amount, NULL
    FROM credit_ledger_entries AS entry
    LEFT JOIN credit_lots AS lot ON lot.user_id = entry.user_id AND lot.id = entry.lot_id
    WHERE entry.kind = 'refund' OR (entry.kind = 'adjustment' AND lot.priority IS DISTINCT FROM 0)
)
SELECT what || ' ' || coalesce(CAST(number AS text), '?') || ' of user ' || user_id AS subject,
    CASE
        WHEN effects.verb IS NULL THEN 'was answered to a ' || answered.verb || ' and is not there'
        WHEN answered.verb IS NULL THEN 'is a ' || effects.verb || ' without a key'
        ELSE 'is a ' || effects.verb || ' of ' || effects.amount || ', answered was a ' || answered.verb || ' of '
            || coalesce(CAST(answered.amount AS text), '?')
    END AS finding
FROM answered
FULL JOIN effects USING (user_id, what, number)
WHERE (answered.verb, answered.amount, answered.hold_key)
    IS DISTINCT FROM (effects.verb, effects.amount, effects.hold_key)
ORDER BY user_id, what, number
