-- Opening a balance, booking ledger entries, and rolling a balance over the boundaries that are due.
-- Callers of book_entry and roll_forward hold the lock of the balance row.

-- Moves one balance and writes the row that explains the move. Nothing but this and charge_batch changes current_balance.
CREATE OR REPLACE FUNCTION book_entry(
    account_user_id bigint, entry_kind text, entry_amount numeric, entry_at timestamptz,
    entry_period_start timestamptz DEFAULT NULL, entry_reason text DEFAULT NULL, entry_actor text DEFAULT NULL
) RETURNS void
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
    INSERT INTO credit_ledger_entries
        (user_id, kind, amount, recorded_at, period_start, balance_after, version, reason, actor)
    SELECT account_user_id, entry_kind, trim_scale(entry_amount), entry_at, entry_period_start,
        balance.current_balance, balance.version, entry_reason, entry_actor
    FROM balance;
$$;

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
        PERFORM book_entry(account_user_id, 'allowance', allowance, at, starts_at);
    END IF;
END
$$;

-- Carries out, one by one, every reset that is due for these users at `instant`: what is left of the old allowance
-- expires, the new one is granted, debt stays. An entry is booked at its own boundary, however late it is carried out.
CREATE OR REPLACE FUNCTION roll_forward(account_user_ids bigint[], instant timestamptz) RETURNS integer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    account record;
    boundary timestamptz;
    unused numeric;
    rolled integer := 0;
BEGIN
    FOR account IN
        SELECT balance.user_id, balance.monthly_allowance, balance.next_reset_at, users.period_anchor, users.time_zone
        FROM user_credit_balances AS balance JOIN users ON users.id = balance.user_id
        WHERE balance.user_id = ANY (account_user_ids) AND balance.next_boundary_at <= instant
        ORDER BY balance.user_id
    LOOP
        boundary := account.next_reset_at;
        WHILE boundary <= instant LOOP
            SELECT greatest(current_balance, 0) INTO unused
            FROM user_credit_balances WHERE user_id = account.user_id;
            IF unused > 0 THEN
                PERFORM book_entry(account.user_id, 'expiry', -unused, boundary, boundary);
            END IF;
            IF account.monthly_allowance > 0 THEN
                PERFORM book_entry(account.user_id, 'allowance', account.monthly_allowance, boundary, boundary);
            END IF;
            UPDATE user_credit_balances
            SET current_month_consumed = 0,
                period_start = boundary,
                next_reset_at = next_period_boundary(account.period_anchor, account.time_zone, boundary),
                next_boundary_at = next_period_boundary(account.period_anchor, account.time_zone, boundary),
                last_recorded_at = greatest(last_recorded_at, boundary)
            WHERE user_id = account.user_id
            RETURNING next_reset_at INTO boundary;
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

-- Changes a user's monthly allowance from the next period on. With `grant_now`, what it exceeds the credits already
-- granted as this period's allowance by is granted at once; nothing is ever clawed back, and a repeat grants nothing.
CREATE OR REPLACE FUNCTION set_allowance_at(
    at timestamptz, account_user_id bigint, allowance numeric, grant_now boolean, acting text
) RETURNS boolean
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    instant timestamptz := settle_account_at(at, account_user_id);
    granted numeric;
BEGIN
    IF instant IS NULL THEN
        RETURN false;
    END IF;
    UPDATE user_credit_balances SET monthly_allowance = trim_scale(allowance) WHERE user_id = account_user_id;
    IF grant_now THEN
        SELECT coalesce(sum(entry.amount), 0) INTO granted
        FROM credit_ledger_entries AS entry
        JOIN user_credit_balances AS balance ON balance.user_id = entry.user_id
        WHERE entry.user_id = account_user_id AND entry.kind = 'allowance'
            AND entry.recorded_at >= balance.period_start;
        IF allowance > granted THEN
            PERFORM book_entry(
                account_user_id, 'allowance', allowance - granted, instant, NULL, 'allowance raised', acting
            );
        END IF;
    END IF;
    RETURN true;
END
$$;

CREATE OR REPLACE FUNCTION set_allowance(account_user_id bigint, allowance numeric, grant_now boolean, acting text)
RETURNS boolean
LANGUAGE sql
SET search_path FROM CURRENT
AS $$ SELECT set_allowance_at(NULL, account_user_id, allowance, grant_now, acting) $$;
