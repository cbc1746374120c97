-- What was given back went to the lot that it was drawn from while that lasted, then to a new one of its priority and
-- cost for 30 days or more, and against debt where it was owed.
WITH acts AS (
    SELECT user_id, version, recorded_at FROM credit_ledger_entries WHERE kind = 'refund'
    UNION ALL
    SELECT user_id, void_version, voided_at FROM voided_credit_usage_events
), pieces AS (
    SELECT piece.user_id, piece.version,
        CASE
            WHEN piece.drawn_from IS NULL AND piece.returned_to IS NULL THEN NULL  -- debt: draws_cover has it
            WHEN piece.returned_to IS NULL THEN 'went nowhere'
            WHEN target.id IS NULL THEN 'went to lot ' || piece.returned_to || ', which is not there'
            WHEN piece.drawn_from IS NULL AND EXISTS (
                SELECT FROM credit_lot_draws AS draw
                WHERE draw.user_id = piece.user_id AND draw.first_credit < piece.first_credit + piece.amount
                    AND draw.first_credit + draw.amount > piece.first_credit
            ) THEN 'is said to come from before there were lots'
            WHEN piece.drawn_from IS NOT NULL AND NOT EXISTS (
                SELECT FROM credit_lot_draws AS draw
                WHERE draw.user_id = piece.user_id AND draw.lot_id = piece.drawn_from
                    AND draw.first_credit <= piece.first_credit
                    AND draw.first_credit + draw.amount >= piece.first_credit + piece.amount
            ) THEN 'was not drawn from lot ' || piece.drawn_from
            WHEN piece.returned_to = piece.drawn_from AND origin.expires_at <= acts.recorded_at
                THEN 'went back to lot ' || piece.returned_to || ', which had expired'
            WHEN piece.returned_to = piece.drawn_from THEN NULL
            WHEN piece.drawn_from IS NOT NULL AND coalesce(origin.expires_at > acts.recorded_at, true)
                THEN 'went to lot ' || piece.returned_to || ', though lot ' || piece.drawn_from || ' had not expired'
            WHEN target.kind <> 'refund' OR target.version IS DISTINCT FROM piece.version
                OR target.priority <> coalesce(origin.priority, 10)
                OR target.cost_basis IS DISTINCT FROM origin.cost_basis
                OR target.expires_at < acts.recorded_at + interval '30 days'
                THEN 'went to lot ' || piece.returned_to || ', which was not made for it'
        END AS fault
    FROM credit_lot_returns AS piece
    JOIN acts ON acts.user_id = piece.user_id AND acts.version = piece.version
    LEFT JOIN credit_lots AS origin ON origin.user_id = piece.user_id AND origin.id = piece.drawn_from
    LEFT JOIN credit_lots AS target ON target.user_id = piece.user_id AND target.id = piece.returned_to
), made AS (
    SELECT user_id, returned_to AS lot_id, sum(amount) AS amount
    FROM credit_lot_returns WHERE returned_to IS DISTINCT FROM drawn_from
    GROUP BY user_id, returned_to
)
SELECT 'version ' || version || ' of user ' || user_id AS subject, 'gave back what ' || fault AS finding
FROM pieces WHERE fault IS NOT NULL
UNION ALL
SELECT 'lot ' || lot.id || ' of user ' || lot.user_id,
    'is of ' || lot.amount || ', given back to it were ' || coalesce(made.amount, 0)
FROM credit_lots AS lot
LEFT JOIN made ON made.user_id = lot.user_id AND made.lot_id = lot.id
WHERE lot.kind = 'refund' AND lot.amount IS DISTINCT FROM made.amount
