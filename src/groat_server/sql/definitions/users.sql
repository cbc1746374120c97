-- What must hold of users by whatever path they are changed, raw SQL included.

-- An e-mail address as it is stored and compared.
CREATE OR REPLACE FUNCTION normal_email(email text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path FROM CURRENT
AS $$ SELECT lower(normalize(btrim(email), NFC)) $$;

CREATE OR REPLACE FUNCTION users_before_write() RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    NEW.email := normal_email(NEW.email);
    NEW.period_anchor := coalesce(NEW.period_anchor, NEW.created_at);
    PERFORM NEW.created_at AT TIME ZONE NEW.time_zone;  -- refuses a time zone that PostgreSQL does not know
    RETURN NEW;
END
$$;

-- E-mail addresses and external ids are unique through tables of their own; a change moves the claim.
CREATE OR REPLACE FUNCTION users_claim_names() RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.email IS DISTINCT FROM NEW.email THEN
        DELETE FROM user_emails WHERE email = OLD.email;
    END IF;
    IF TG_OP = 'INSERT' OR OLD.email IS DISTINCT FROM NEW.email THEN
        INSERT INTO user_emails (email, user_id) VALUES (NEW.email, NEW.id);
    END IF;
    IF TG_OP = 'UPDATE' AND OLD.external_id IS DISTINCT FROM NEW.external_id THEN
        DELETE FROM user_external_ids WHERE external_id = OLD.external_id;
    END IF;
    IF NEW.external_id IS NOT NULL AND (TG_OP = 'INSERT' OR OLD.external_id IS DISTINCT FROM NEW.external_id) THEN
        INSERT INTO user_external_ids (external_id, user_id) VALUES (NEW.external_id, NEW.id);
    END IF;
    RETURN NULL;
END
$$;

-- A balance is born with its user. It goes when the user enters demo mode, which is refused once there is anything to
-- lose, and comes back with the period's allowance, never a second one, when the user leaves it.
CREATE OR REPLACE FUNCTION users_keep_balance() RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NOT NEW.demo_mode THEN
            PERFORM open_account(NEW.id, NEW.created_at);
        END IF;
    ELSIF OLD.demo_mode AND NOT NEW.demo_mode THEN
        PERFORM open_account(NEW.id, clock_timestamp());
    ELSIF NEW.demo_mode AND NOT OLD.demo_mode THEN
        PERFORM close_untouched_account(NEW.id);
    END IF;
    RETURN NULL;
END
$$;

-- Takes away the balance of a user who has nothing but the first allowance; otherwise refuses. Holds the balance's lock,
-- so that a charge comes either before (and is an event that refuses this) or after (and finds a demo user).
CREATE OR REPLACE FUNCTION close_untouched_account(account_user_id bigint) RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    PERFORM FROM user_credit_balances WHERE user_id = account_user_id FOR UPDATE;
    -- The first allowance is version 1 and came with its period; one that was raised into an empty account did not.
    IF EXISTS (
        SELECT FROM credit_ledger_entries
        WHERE user_id = account_user_id AND (version > 1 OR period_start IS NULL)
    ) OR EXISTS (
        SELECT FROM credit_usage_events WHERE user_id = account_user_id
    ) OR EXISTS (
        SELECT FROM voided_credit_usage_events WHERE user_id = account_user_id
    ) OR EXISTS (
        SELECT FROM credit_operations WHERE user_id = account_user_id
    ) OR EXISTS (
        -- An allowance changed from the next period on would be lost, or come at once with the new balance.
        SELECT FROM user_credit_balances AS balance
        WHERE balance.user_id = account_user_id AND balance.monthly_allowance <> (
            SELECT coalesce(sum(amount), 0) FROM credit_ledger_entries WHERE user_id = account_user_id
        )
    ) THEN
        RAISE EXCEPTION 'user % has a history, or a changed allowance, and cannot enter demo mode', account_user_id
            USING ERRCODE = 'GR001', HINT = 'Demo users are never tracked, so only a user without one can become one.';
    END IF;
    PERFORM set_config('groat.closing_account', account_user_id::text, true);
    DELETE FROM credit_ledger_entries WHERE user_id = account_user_id;
    DELETE FROM credit_lots WHERE user_id = account_user_id;
    DELETE FROM user_credit_balances WHERE user_id = account_user_id;
    PERFORM set_config('groat.closing_account', '', true);
END
$$;

-- Whether this user is the only administrator. The answer holds until the transaction ends: whoever else is about to take
-- the role from somebody waits here.
CREATE OR REPLACE FUNCTION is_last_admin(account_user_id bigint) RETURNS boolean
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('groat administrators ' || current_schema(), 0));
    RETURN (SELECT bool_and(id = account_user_id) FROM users WHERE is_admin);
END
$$;

CREATE OR REPLACE TRIGGER users_before_write BEFORE INSERT OR UPDATE ON users
    FOR EACH ROW EXECUTE FUNCTION users_before_write();
CREATE OR REPLACE TRIGGER users_claim_names AFTER INSERT OR UPDATE OF email, external_id ON users
    FOR EACH ROW EXECUTE FUNCTION users_claim_names();
CREATE OR REPLACE TRIGGER users_keep_balance AFTER INSERT OR UPDATE OF demo_mode ON users
    FOR EACH ROW EXECUTE FUNCTION users_keep_balance();
