-- Opening a balance, and rolling it over the boundaries that are due: resets, lots that start, lots that expire.
-- Callers of roll_forward hold the lock of the balance row.

-- Opens the balance of a user who is not in demo mode, with the allowance of the period that holds `at`.
CREATE OR REPLACE FUNCTION open_account(account_user_id bigint, at timestamptz) RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    allowance numeric;
    anchor timestamptz;
    zone text;
    starts_at timestamptz;
    ends_at timestamptz;
BEGIN
    SELECT coalesce(opening_allowance, default_allowance), period_anchor, time_zone
    INTO STRICT allowance, anchor, zone
    FROM users CROSS JOIN ledger_settings WHERE users.id = account_user_id;
    starts_at := period_start_at(anchor, zone, at);
    ends_at := next_period_boundary(anchor, zone, starts_at);
    INSERT INTO user_credit_balances
        (user_id, monthly_allowance, period_start, next_reset_at, next_boundary_at, last_recorded_at)
    VALUES (account_user_id, trim_scale(allowance), starts_at, ends_at, ends_at, at);
    IF allowance > 0 THEN
        PERFORM add_lot(account_user_id, 'allowance', allowance, at, 10, ends_at, entry_period_start => starts_at);
    END IF;
END
$$;

-- Carries out, one by one, every boundary that is due for these users at `instant`. An entry is booked at its own
-- boundary, however late it is carried out. At one boundary: what was consumed goes to its lots; what expires; at a
-- reset, what rolls over and the new allowance; what starts; and what came in pays debts.
CREATE OR REPLACE FUNCTION roll_forward(account_user_ids bigint[], instant timestamptz) RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    account record;
    boundary timestamptz;
    reset_at timestamptz;
    following_reset timestamptz;
    expiring record;
    starting bigint;
    unused_allowance numeric;
    rolled integer := 0;
BEGIN
    FOR account IN
        SELECT balance.user_id, balance.monthly_allowance, balance.rollover_cap, balance.next_reset_at,
            balance.next_boundary_at, users.period_anchor, users.time_zone
        FROM user_credit_balances AS balance JOIN users ON users.id = balance.user_id
        WHERE balance.user_id = ANY (account_user_ids) AND balance.next_boundary_at <= instant
        ORDER BY balance.user_id
    LOOP
        boundary := account.next_boundary_at;
        reset_at := account.next_reset_at;
        WHILE boundary <= instant LOOP
            PERFORM allocate_consumption(account.user_id);
            unused_allowance := 0;
            FOR expiring IN
                SELECT lot.id, lot.kind, lot.remaining
                FROM lots_in_order(account.user_id) AS usable
                JOIN credit_lots AS lot ON lot.user_id = account.user_id AND lot.id = usable.lot_id
                WHERE lot.expires_at <= boundary
                ORDER BY usable.before
            LOOP
                UPDATE credit_lots SET remaining = 0 WHERE user_id = account.user_id AND id = expiring.id;
                PERFORM book_entry(account.user_id, 'expiry', -expiring.remaining, boundary, expiring.id);
                IF expiring.kind IN ('allowance', 'rollover') THEN
                    unused_allowance := unused_allowance + expiring.remaining;
                END IF;
            END LOOP;

            IF boundary = reset_at THEN
                following_reset := next_period_boundary(account.period_anchor, account.time_zone, boundary);
                UPDATE user_credit_balances
                SET current_month_consumed = 0,
                    period_start = boundary,
                    next_reset_at = following_reset,
                    last_recorded_at = greatest(last_recorded_at, boundary)
                WHERE user_id = account.user_id;
                IF least(unused_allowance, account.rollover_cap) > 0 THEN
                    PERFORM add_lot(
                        account.user_id, 'rollover', least(unused_allowance, account.rollover_cap), boundary, 10,
                        following_reset, entry_period_start => boundary
                    );
                END IF;
                IF account.monthly_allowance > 0 THEN
                    PERFORM add_lot(
                        account.user_id, 'allowance', account.monthly_allowance, boundary, 10, following_reset,
                        entry_period_start => boundary
                    );
                END IF;
                reset_at := following_reset;
            END IF;

            FOR starting IN
                SELECT id FROM credit_lots
                WHERE user_id = account.user_id AND version IS NULL AND remaining > 0 AND starts_at <= boundary
                ORDER BY id
            LOOP
                PERFORM start_lot(account.user_id, starting, boundary);
            END LOOP;

            PERFORM pay_debts(account.user_id);
            PERFORM set_next_boundary(account.user_id);
            SELECT next_boundary_at INTO boundary FROM user_credit_balances WHERE user_id = account.user_id;
        END LOOP;
        rolled := rolled + 1;
    END LOOP;
    RETURN rolled;
END
$$;

-- Rolls up to `batch` users whose boundary has passed, skipping those somebody else has locked: they are being rolled
-- by whoever holds them. Returns how many it rolled, so that the caller goes on until there are none.
CREATE OR REPLACE FUNCTION sweep_due_at(at timestamptz, batch integer) RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    due bigint[];
BEGIN
    SELECT array_agg(user_id) INTO due
    FROM (
        SELECT user_id FROM user_credit_balances
        WHERE next_boundary_at <= at
        ORDER BY user_id
        LIMIT batch
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS locked;
    RETURN roll_forward(coalesce(due, '{}'), at);
END
$$;

CREATE OR REPLACE FUNCTION sweep_due(batch integer) RETURNS integer
LANGUAGE sql
SET search_path FROM CURRENT
AS $$ SELECT sweep_due_at(clock_timestamp(), batch) $$;

-- Locks one balance, rolls it to the present instant and returns that instant. Null where the user has no balance.
CREATE OR REPLACE FUNCTION settle_account_at(at timestamptz, account_user_id bigint) RETURNS timestamptz
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    instant timestamptz;
BEGIN
    SELECT last_recorded_at INTO instant
    FROM user_credit_balances WHERE user_id = account_user_id FOR NO KEY UPDATE;
    IF FOUND THEN
        instant := greatest(instant, coalesce(at, clock_timestamp()));
        PERFORM roll_forward(ARRAY[account_user_id], instant);
    END IF;
    RETURN instant;
END
$$;

CREATE OR REPLACE FUNCTION settle_account(account_user_id bigint) RETURNS timestamptz
LANGUAGE sql
SET search_path FROM CURRENT
AS $$ SELECT settle_account_at(NULL, account_user_id) $$;
