-- What paid for one event of a user, standing or voided, in the order in which it was drawn; kind 'debt' where nothing has
-- yet, or where it was given back unpaid. What was charged since the last boundary is shown as it would be allocated now.
WITH event AS (
    SELECT version, balance_after, credits_charged FROM credit_usage_events
    WHERE user_id = :user_id AND id = :event_id
    UNION ALL
    SELECT version, balance_after, credits_charged FROM voided_credit_usage_events
    WHERE user_id = :user_id AND id = :event_id
), stretch AS (
    SELECT stretch_to - credits_charged AS stretch_from, stretch_to
    FROM (
        SELECT credits_charged, end_of_event(CAST(:user_id AS bigint), version, balance_after) AS stretch_to FROM event
    ) AS ended
), usable AS (
    SELECT lot_id, remaining, before FROM lots_in_order(CAST(:user_id AS bigint))
), pieces AS (
    SELECT lot_id, first_credit, first_credit + amount AS last_credit
    FROM credit_lot_draws WHERE user_id = :user_id
    UNION ALL
    SELECT NULL, first_credit, first_credit + amount
    FROM credit_lot_returns WHERE user_id = :user_id AND drawn_from IS NULL AND returned_to IS NULL
    UNION ALL
    SELECT usable.lot_id, balance.allocated + usable.before, balance.allocated + usable.before + usable.remaining
    FROM usable CROSS JOIN user_credit_balances AS balance WHERE balance.user_id = :user_id
    UNION ALL
    SELECT NULL, balance.allocated + (SELECT coalesce(sum(remaining), 0) FROM usable), 'Infinity'
    FROM user_credit_balances AS balance WHERE balance.user_id = :user_id
)
SELECT pieces.lot_id, coalesce(lot.kind, 'debt') AS kind,
    trim_scale(greatest(pieces.first_credit, stretch.stretch_from)) AS first_credit,
    trim_scale(
        least(pieces.last_credit, stretch.stretch_to) - greatest(pieces.first_credit, stretch.stretch_from)
    ) AS credits
FROM stretch
JOIN pieces ON pieces.first_credit < stretch.stretch_to AND pieces.last_credit > stretch.stretch_from
LEFT JOIN credit_lots AS lot ON lot.user_id = :user_id AND lot.id = pieces.lot_id
ORDER BY first_credit
