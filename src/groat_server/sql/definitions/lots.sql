-- Lots: which credits a user has, and which of them paid for what.
--
-- All credits that a user ever consumed stand in one row, in order of version: those of events, of voided events at their
-- old place, and of negative adjustments. credit_lot_draws says which lot paid for which stretch of it. Charges write none
-- of that: what was consumed since the last boundary is allocated at the next one. Between two boundaries no lot comes or
-- goes, so that the order of the charges cannot change what is left.
--
-- At a boundary, after allocation: sum(remaining of lots that have started) - sum(debt) = current_balance.
--
-- Callers hold the lock of the balance row.

-- What a user can draw on, in the order in which it is drawn. `before` is what the lots ahead of each hold.
CREATE OR REPLACE FUNCTION lots_in_order(account_user_id bigint)
RETURNS TABLE (lot_id bigint, remaining numeric, before numeric)
LANGUAGE sql STABLE
SET search_path FROM CURRENT
AS $$
    SELECT lot.id, lot.remaining, sum(lot.remaining) OVER in_order - lot.remaining
    FROM credit_lots AS lot
    WHERE lot.user_id = account_user_id AND lot.remaining > 0 AND lot.version IS NOT NULL
    WINDOW in_order AS (
        ORDER BY lot.priority, lot.expires_at NULLS LAST, coalesce(lot.cost_basis, 0) > 0, lot.starts_at, lot.id
    )
$$;

-- Allocates to lots what was consumed since the last boundary; what exceeds them is debt.
CREATE OR REPLACE FUNCTION allocate_consumption(account_user_id bigint) RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    allocated_before numeric;
    consumed numeric;
BEGIN
    SELECT balance.allocated,
        coalesce((
            SELECT sum(remaining) FROM credit_lots
            WHERE user_id = account_user_id AND remaining > 0 AND version IS NOT NULL
        ), 0)
        - coalesce((
            SELECT sum(amount) FROM credit_lot_draws WHERE user_id = account_user_id AND lot_id IS NULL
        ), 0)
        - balance.current_balance
    INTO allocated_before, consumed
    FROM user_credit_balances AS balance WHERE balance.user_id = account_user_id;
    IF consumed IS NULL OR consumed <= 0 THEN
        RETURN;
    END IF;

    WITH drawn AS MATERIALIZED (
        SELECT lot_id, before, least(remaining, consumed - before) AS amount
        FROM lots_in_order(account_user_id) WHERE before < consumed
    ), lowered AS (
        UPDATE credit_lots AS lot SET remaining = trim_scale(lot.remaining - drawn.amount)
        FROM drawn WHERE lot.user_id = account_user_id AND lot.id = drawn.lot_id
    )
    INSERT INTO credit_lot_draws (user_id, lot_id, first_credit, amount)
    SELECT account_user_id, lot_id, trim_scale(allocated_before + before), trim_scale(amount) FROM drawn
    UNION ALL
    SELECT account_user_id, NULL, trim_scale(allocated_before + paid.amount), trim_scale(consumed - paid.amount)
    FROM (SELECT coalesce(sum(amount), 0) AS amount FROM drawn) AS paid
    WHERE paid.amount < consumed;

    UPDATE user_credit_balances SET allocated = trim_scale(allocated + consumed) WHERE user_id = account_user_id;
END
$$;

-- Pays debts, oldest first, from whatever there is to draw on.
CREATE OR REPLACE FUNCTION pay_debts(account_user_id bigint) RETURNS void
LANGUAGE sql
SET search_path FROM CURRENT
AS $$
    WITH debts AS (
        SELECT id, first_credit, amount, sum(amount) OVER (ORDER BY first_credit) - amount AS before
        FROM credit_lot_draws WHERE user_id = account_user_id AND lot_id IS NULL
    ), pieces AS MATERIALIZED (
        SELECT lot.lot_id, debt.id AS debt_id,
            debt.first_credit + greatest(lot.before, debt.before) - debt.before AS first_credit,
            least(lot.before + lot.remaining, debt.before + debt.amount) - greatest(lot.before, debt.before) AS amount
        FROM debts AS debt
        JOIN lots_in_order(account_user_id) AS lot
            ON lot.before < debt.before + debt.amount AND debt.before < lot.before + lot.remaining
    ), paid AS (
        SELECT debt_id, sum(amount) AS amount FROM pieces GROUP BY debt_id
    ), settled AS (
        DELETE FROM credit_lot_draws AS debt USING paid
        WHERE debt.user_id = account_user_id AND debt.id = paid.debt_id AND debt.amount = paid.amount
    ), reduced AS (
        UPDATE credit_lot_draws AS debt
        SET first_credit = trim_scale(debt.first_credit + paid.amount), amount = trim_scale(debt.amount - paid.amount)
        FROM paid
        WHERE debt.user_id = account_user_id AND debt.id = paid.debt_id AND debt.amount > paid.amount
    ), lowered AS (
        UPDATE credit_lots AS lot SET remaining = trim_scale(lot.remaining - used.amount)
        FROM (SELECT lot_id, sum(amount) AS amount FROM pieces GROUP BY lot_id) AS used
        WHERE lot.user_id = account_user_id AND lot.id = used.lot_id
    )
    INSERT INTO credit_lot_draws (user_id, lot_id, first_credit, amount)
    SELECT account_user_id, lot_id, trim_scale(first_credit), trim_scale(amount) FROM pieces
$$;

-- Sets the instant at which the balance changes by itself next: a reset, a lot that starts, a lot that expires.
CREATE OR REPLACE FUNCTION set_next_boundary(account_user_id bigint) RETURNS void
LANGUAGE sql
SET search_path FROM CURRENT
AS $$
    UPDATE user_credit_balances AS balance
    SET next_boundary_at = least(
        balance.next_reset_at,
        (
            SELECT min(CASE WHEN version IS NULL THEN starts_at ELSE expires_at END)
            FROM credit_lots WHERE user_id = account_user_id AND remaining > 0
        )
    )
    WHERE balance.user_id = account_user_id
$$;

-- Moves one balance and writes the row that explains the move; returns its version. Nothing but this, charge_batch and
-- void_event changes current_balance.
CREATE OR REPLACE FUNCTION book_entry(
    account_user_id bigint, entry_kind text, entry_amount numeric, entry_at timestamptz,
    entry_lot_id bigint DEFAULT NULL, entry_period_start timestamptz DEFAULT NULL, entry_event_id bigint DEFAULT NULL,
    entry_reason text DEFAULT NULL, entry_actor text DEFAULT NULL
) RETURNS bigint
LANGUAGE sql
SET search_path FROM CURRENT
AS $$
    WITH balance AS (
        UPDATE user_credit_balances
        SET current_balance = trim_scale(current_balance + entry_amount),
            version = version + 1,
            last_recorded_at = greatest(last_recorded_at, entry_at)
        WHERE user_id = account_user_id
        RETURNING current_balance, version
    )
    INSERT INTO credit_ledger_entries (
        user_id, kind, amount, recorded_at, period_start, balance_after, version, event_id, lot_id, reason, actor
    )
    SELECT account_user_id, entry_kind, trim_scale(entry_amount), entry_at, entry_period_start,
        balance.current_balance, balance.version, entry_event_id, entry_lot_id, entry_reason, entry_actor
    FROM balance
    RETURNING version
$$;

-- Brings in a lot that is there already: it can be drawn on from now on, and an entry says where it came from.
CREATE OR REPLACE FUNCTION start_lot(
    account_user_id bigint, starting_lot_id bigint, at timestamptz, entry_period_start timestamptz DEFAULT NULL
) RETURNS void
LANGUAGE sql
SET search_path FROM CURRENT
AS $$
    UPDATE credit_lots AS lot
    SET version = book_entry(
        lot.user_id, lot.kind, lot.amount, at, lot.id, entry_period_start, NULL, lot.reason, lot.actor
    )
    WHERE lot.user_id = account_user_id AND lot.id = starting_lot_id
$$;

-- Makes a lot; one whose time has come is brought in at once, any other at its start.
CREATE OR REPLACE FUNCTION add_lot(
    account_user_id bigint, lot_kind text, lot_amount numeric, at timestamptz, lot_priority integer,
    lot_expires_at timestamptz, lot_starts_at timestamptz DEFAULT NULL, lot_cost_basis numeric DEFAULT NULL,
    entry_period_start timestamptz DEFAULT NULL, lot_reason text DEFAULT NULL, lot_actor text DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    added bigint;
BEGIN
    INSERT INTO credit_lots
        (user_id, kind, amount, remaining, priority, cost_basis, starts_at, expires_at, reason, actor)
    VALUES (
        account_user_id, lot_kind, trim_scale(lot_amount), trim_scale(lot_amount), lot_priority,
        trim_scale(lot_cost_basis), greatest(lot_starts_at, at), lot_expires_at, lot_reason, lot_actor
    )
    RETURNING id INTO added;
    IF lot_starts_at IS NULL OR lot_starts_at <= at THEN
        PERFORM start_lot(account_user_id, added, at, entry_period_start);
    END IF;
    RETURN added;
END
$$;

-- Where an event's credits stand among all that its user consumed: they end at what the rows up to it explain. Works for
-- voided events as well.
CREATE OR REPLACE FUNCTION end_of_event(account_user_id bigint, event_version bigint, event_balance_after numeric)
RETURNS numeric
LANGUAGE sql STABLE
SET search_path FROM CURRENT
AS $$
    SELECT trim_scale(
        coalesce((
            SELECT sum(amount) FROM credit_ledger_entries
            WHERE user_id = account_user_id AND version < event_version
                AND NOT (kind = 'adjustment' AND amount < 0)
        ), 0)
        + coalesce((
            SELECT sum(credits_charged) FROM voided_credit_usage_events
            WHERE user_id = account_user_id AND void_version < event_version
        ), 0)
        - event_balance_after
    )
$$;

-- Gives a consumed stretch back: to the lots it was drawn from; where one has expired, to a new lot of its priority and
-- cost that lasts to the later of the period's end and 30 days; what is debt still is owed no longer. The caller has
-- allocated what was consumed, and moves the balance by as much.
CREATE OR REPLACE FUNCTION give_back(
    account_user_id bigint, stretch_from numeric, stretch_to numeric, at_version bigint, at timestamptz,
    acting text DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    origin record;
    target bigint;
    returned numeric := 0;
    lasts_to timestamptz;
BEGIN
    SELECT greatest(next_reset_at, at + interval '30 days') INTO lasts_to
    FROM user_credit_balances WHERE user_id = account_user_id;
    FOR origin IN
        SELECT piece.lot_id, piece.amount, lot.priority, lot.cost_basis,
            lot.expires_at IS NULL OR lot.expires_at > at AS is_usable
        FROM (
            SELECT draw.lot_id, min(draw.first_credit) AS first_credit,
                sum(least(draw.first_credit + draw.amount, stretch_to) - greatest(draw.first_credit, stretch_from))
                    AS amount
            FROM credit_lot_draws AS draw
            WHERE draw.user_id = account_user_id
                AND draw.first_credit < stretch_to AND draw.first_credit + draw.amount > stretch_from
            GROUP BY draw.lot_id
        ) AS piece
        LEFT JOIN credit_lots AS lot ON lot.user_id = account_user_id AND lot.id = piece.lot_id
        ORDER BY piece.first_credit
    LOOP
        IF origin.lot_id IS NULL THEN
            target := NULL;
        ELSIF origin.is_usable THEN
            target := origin.lot_id;
            UPDATE credit_lots SET remaining = trim_scale(remaining + origin.amount)
            WHERE user_id = account_user_id AND id = target;
        ELSE
            target := add_refund_lot(
                account_user_id, origin.amount, origin.priority, origin.cost_basis, at, lasts_to, at_version, acting
            );
        END IF;
        INSERT INTO credit_lot_returns (user_id, version, first_credit, amount, drawn_from, returned_to)
        SELECT account_user_id, at_version, trim_scale(greatest(draw.first_credit, stretch_from)),
            trim_scale(
                least(draw.first_credit + draw.amount, stretch_to) - greatest(draw.first_credit, stretch_from)
            ),
            draw.lot_id, target
        FROM credit_lot_draws AS draw
        WHERE draw.user_id = account_user_id AND draw.lot_id IS NOT DISTINCT FROM origin.lot_id
            AND draw.first_credit < stretch_to AND draw.first_credit + draw.amount > stretch_from;
        returned := returned + origin.amount;
    END LOOP;

    -- Debt within the stretch goes; what of it lies outside stays owed.
    WITH cut AS (
        DELETE FROM credit_lot_draws
        WHERE user_id = account_user_id AND lot_id IS NULL
            AND first_credit < stretch_to AND first_credit + amount > stretch_from
        RETURNING first_credit, first_credit + amount AS last_credit
    )
    INSERT INTO credit_lot_draws (user_id, first_credit, amount)
    SELECT account_user_id, trim_scale(first_credit), trim_scale(stretch_from - first_credit)
    FROM cut WHERE first_credit < stretch_from
    UNION ALL
    SELECT account_user_id, trim_scale(stretch_to), trim_scale(last_credit - stretch_to)
    FROM cut WHERE last_credit > stretch_to;

    -- Consumed before there were lots: nobody knows from which allowance.
    IF returned < stretch_to - stretch_from THEN
        target := add_refund_lot(
            account_user_id, stretch_to - stretch_from - returned, 10, NULL, at, lasts_to, at_version, acting
        );
        INSERT INTO credit_lot_returns (user_id, version, first_credit, amount, returned_to)
        VALUES (
            account_user_id, at_version, trim_scale(stretch_from), trim_scale(stretch_to - stretch_from - returned),
            target
        );
    END IF;
END
$$;

-- A lot of credits given back; the entry of the refund, or the void, is what brought it in.
CREATE OR REPLACE FUNCTION add_refund_lot(
    account_user_id bigint, lot_amount numeric, lot_priority integer, lot_cost_basis numeric, at timestamptz,
    lot_expires_at timestamptz, at_version bigint, acting text
) RETURNS bigint
LANGUAGE sql
SET search_path FROM CURRENT
AS $$
    INSERT INTO credit_lots
        (user_id, kind, amount, remaining, priority, cost_basis, starts_at, expires_at, version, actor)
    VALUES (
        account_user_id, 'refund', trim_scale(lot_amount), trim_scale(lot_amount), lot_priority, lot_cost_basis, at,
        lot_expires_at, at_version, acting
    )
    RETURNING id
$$;

-- Balances out charges just booked, of history that was paid for elsewhere: an adjustment of the same sum, from which
-- they are drawn, so that neither the balance nor any other lot moves.
CREATE OR REPLACE FUNCTION settle_charges(account_user_id bigint, charged numeric, at timestamptz) RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    settling bigint;
BEGIN
    settling := add_lot(account_user_id, 'adjustment', charged, at, 0, NULL, lot_reason => 'settled history');
    UPDATE credit_lots SET remaining = 0 WHERE user_id = account_user_id AND id = settling;
    INSERT INTO credit_lot_draws (user_id, lot_id, first_credit, amount)
    SELECT account_user_id, settling, balance.allocated, trim_scale(charged)
    FROM user_credit_balances AS balance WHERE balance.user_id = account_user_id;
    UPDATE user_credit_balances AS balance SET allocated = trim_scale(balance.allocated + charged)
    WHERE balance.user_id = account_user_id;
    PERFORM audit(
        NULL, 'adjustment', account_user_id, jsonb_build_object('amount', trim_scale(charged), 'reason', 'settled history')
    );
END
$$;
