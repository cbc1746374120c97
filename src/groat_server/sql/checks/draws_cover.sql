-- Each credit that was allocated was drawn from one lot, is owed, or was given back while it was owed; and none twice.
WITH before_lots AS (
    -- Consumed before there were lots: what was granted then, less what became the first lot. Nobody knows from what.
    SELECT user_id, sum(amount) AS amount
    FROM (
        SELECT user_id, amount FROM credit_ledger_entries
        WHERE lot_id IS NULL AND kind <> 'refund' AND NOT (kind = 'adjustment' AND amount < 0)
        UNION ALL
        SELECT lot.user_id, -lot.amount FROM credit_lots AS lot
        WHERE lot.version IS NOT NULL AND lot.kind <> 'refund' AND NOT EXISTS (
            SELECT FROM credit_ledger_entries AS entry
            WHERE entry.user_id = lot.user_id AND entry.lot_id = lot.id AND entry.kind <> 'expiry'
        )
    ) AS grants
    GROUP BY user_id
), stretches AS (
    SELECT user_id, first_credit, first_credit + amount AS last_credit, false AS is_end FROM credit_lot_draws
    UNION ALL
    SELECT user_id, first_credit, first_credit + amount, false FROM credit_lot_returns
    WHERE drawn_from IS NULL AND returned_to IS NULL
    UNION ALL
    SELECT user_id, allocated, allocated, true FROM user_credit_balances
), chain AS (
    SELECT stretch.user_id, stretch.first_credit, stretch.is_end,
        coalesce(
            lag(stretch.last_credit) OVER (
                PARTITION BY stretch.user_id ORDER BY stretch.is_end, stretch.first_credit, stretch.last_credit
            ),
            before_lots.amount,
            0
        ) AS covered_to
    FROM stretches AS stretch
    LEFT JOIN before_lots ON before_lots.user_id = stretch.user_id
)
SELECT 'user ' || user_id AS subject,
    CASE WHEN is_end THEN 'has allocated ' ELSE 'has a draw from credit ' END
        || trim_scale(first_credit) || ' on; what comes before it ends at ' || trim_scale(covered_to) AS finding
FROM chain
WHERE first_credit <> covered_to
ORDER BY user_id, first_credit
