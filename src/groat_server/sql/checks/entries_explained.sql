-- Each entry names what it books: the lot that it brought in at its start or took away at its end, or the event that it
-- refunds; each lot that counts was brought in by one, or by a refund or a void.
WITH first_lots AS (
    SELECT user_id, min(version) AS version FROM credit_lots GROUP BY user_id
), entries AS (
    SELECT entry.user_id, entry.version,
        CASE
            WHEN entry.kind = 'refund' THEN CASE
                WHEN entry.event_id IS NULL THEN 'is a refund of no event'
                WHEN event.id IS NULL THEN 'refunds event ' || entry.event_id || ', which is not there'
            END
            WHEN entry.event_id IS NOT NULL THEN 'is no refund and names event ' || entry.event_id
            WHEN entry.kind = 'adjustment' AND entry.amount < 0 THEN CASE
                WHEN entry.lot_id IS NOT NULL THEN 'takes credits and names lot ' || entry.lot_id
            END
            WHEN entry.lot_id IS NULL THEN CASE
                -- Entries from before there were lots name none.
                WHEN entry.version > first_lots.version THEN 'names no lot'
            END
            WHEN lot.id IS NULL THEN 'names lot ' || entry.lot_id || ', which is not there'
            WHEN entry.kind = 'expiry' THEN CASE
                WHEN lot.expires_at IS DISTINCT FROM entry.recorded_at
                    THEN 'took lot ' || lot.id || ' away at ' || entry.recorded_at || ', which lasts to '
                        || coalesce(CAST(lot.expires_at AS text), 'for ever')
            END
            WHEN lot.version IS DISTINCT FROM entry.version OR lot.kind <> entry.kind OR lot.amount <> entry.amount
                OR lot.starts_at <> entry.recorded_at
                THEN 'brought in lot ' || lot.id || ', which says otherwise'
        END AS fault
    FROM credit_ledger_entries AS entry
    LEFT JOIN first_lots ON first_lots.user_id = entry.user_id
    LEFT JOIN credit_lots AS lot ON lot.user_id = entry.user_id AND lot.id = entry.lot_id
    LEFT JOIN (
        SELECT user_id, id FROM credit_usage_events UNION ALL SELECT user_id, id FROM voided_credit_usage_events
    ) AS event ON entry.event_id IS NOT NULL AND event.user_id = entry.user_id AND event.id = entry.event_id
)
SELECT 'version ' || version || ' of user ' || user_id AS subject, fault AS finding
FROM entries WHERE fault IS NOT NULL
UNION ALL
SELECT 'lot ' || lot.id || ' of user ' || lot.user_id, 'counts, and nothing has brought it in'
FROM credit_lots AS lot
WHERE lot.version IS NOT NULL
    AND NOT EXISTS (
        SELECT FROM credit_ledger_entries AS entry
        WHERE entry.user_id = lot.user_id AND entry.version = lot.version
            AND (entry.lot_id = lot.id OR (lot.kind = 'refund' AND entry.kind = 'refund'))
    )
    AND NOT EXISTS (
        SELECT FROM voided_credit_usage_events AS voided
        WHERE lot.kind = 'refund' AND voided.user_id = lot.user_id AND voided.void_version = lot.version
    )
    -- What was there before there were lots became one: as much as the last move until then had left.
    AND NOT (
        lot.kind = 'allowance'
        AND EXISTS (
            SELECT FROM credit_ledger_entries AS entry
            WHERE entry.user_id = lot.user_id AND entry.kind = 'allowance' AND entry.lot_id IS NULL
        )
        AND EXISTS (
            SELECT FROM (
                SELECT user_id, version, balance_after FROM credit_ledger_entries
                UNION ALL SELECT user_id, version, balance_after FROM credit_usage_events
                UNION ALL SELECT user_id, version, balance_after FROM voided_credit_usage_events
            ) AS move
            WHERE move.user_id = lot.user_id AND move.version = lot.version AND move.balance_after = lot.amount
        )
    )
