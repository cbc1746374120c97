-- What no path may do: change history, or track a user in demo mode. Statement-level, so that a batch pays once, and none
-- of it on what a charge does but the one that looks for demo users.
--
-- Two functions may correct history, and say so for their transaction: `groat.correcting` is 'void' or 'anonymise', and
-- `groat.correcting_user` the user whose rows they are. Lots and what becomes of them change in the ledger's functions
-- only, for whose duration `groat.booking` is on (migrations/rights.py sees to that).

CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    RAISE EXCEPTION '% of % is refused: its rows are history', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'GR002', HINT = 'Corrections are new rows, not changes of old ones.';
END
$$;

-- Refuses all but the correction that the trigger names.
CREATE OR REPLACE FUNCTION refuse_but_correction() RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    IF current_setting('groat.correcting', true) IS DISTINCT FROM TG_ARGV[0] THEN
        RAISE EXCEPTION '% of % is refused: its rows are history', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'GR002', HINT = 'Corrections are new rows, not changes of old ones.';
    END IF;
    RETURN NULL;
END
$$;

-- A correction is of one user, and changes nobody else's rows.
CREATE OR REPLACE FUNCTION refuse_other_users() RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    IF EXISTS (
        SELECT FROM changed
        WHERE user_id::text IS DISTINCT FROM nullif(current_setting('groat.correcting_user', true), '')
    ) THEN
        RAISE EXCEPTION '% of % is refused: its rows are history', TG_OP, TG_TABLE_NAME USING ERRCODE = 'GR002';
    END IF;
    RETURN NULL;
END
$$;

-- A void moves events: each is among the voided ones before it goes.
CREATE OR REPLACE FUNCTION refuse_loss() RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    IF EXISTS (
        SELECT FROM changed
        WHERE NOT EXISTS (
            SELECT FROM voided_credit_usage_events AS voided
            WHERE voided.user_id = changed.user_id AND voided.id = changed.id
        )
    ) THEN
        RAISE EXCEPTION '% of % is refused: its rows are history', TG_OP, TG_TABLE_NAME USING ERRCODE = 'GR002';
    END IF;
    RETURN NULL;
END
$$;

-- Ledger entries are history too, but for the first allowance of an untouched balance that enters demo mode.
CREATE OR REPLACE FUNCTION refuse_ledger_delete() RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    IF EXISTS (
        SELECT FROM removed WHERE user_id::text <> coalesce(current_setting('groat.closing_account', true), '')
    ) THEN
        RAISE EXCEPTION 'DELETE of % is refused: its rows are history', TG_TABLE_NAME USING ERRCODE = 'GR002';
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION refuse_but_booking() RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    IF current_setting('groat.booking', true) IS DISTINCT FROM 'on' THEN
        RAISE EXCEPTION '% of % is refused: only the ledger''s functions change it', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'GR002', HINT = 'Grants, refunds, voids and adjustments change lots.';
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION refuse_demo_events() RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    IF EXISTS (SELECT FROM added JOIN users ON users.id = added.user_id WHERE users.demo_mode) THEN
        RAISE EXCEPTION 'a user in demo mode is never tracked' USING ERRCODE = 'GR003';
    END IF;
    RETURN NULL;
END
$$;

-- Events: every column but those that can hold personal data is for ever.
CREATE OR REPLACE TRIGGER credit_usage_events_immutable
    BEFORE UPDATE OF id, user_id, created_at, recorded_at, version, price_id, input_tokens, output_tokens,
        cache_read_tokens, cache_write_tokens, reasoning_tokens, occurred_at_given, action_type, credits_charged,
        api_cost, credits_per_dollar, multiplier, cost_source, balance_after, available_after, quantity, model_used,
        provider, hold_id OR TRUNCATE ON credit_usage_events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE OR REPLACE TRIGGER credit_usage_events_anonymise BEFORE UPDATE ON credit_usage_events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_but_correction('anonymise');
CREATE OR REPLACE TRIGGER credit_usage_events_anonymise_one AFTER UPDATE ON credit_usage_events
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION refuse_other_users();
CREATE OR REPLACE TRIGGER credit_usage_events_void BEFORE DELETE ON credit_usage_events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_but_correction('void');
CREATE OR REPLACE TRIGGER credit_usage_events_void_one AFTER DELETE ON credit_usage_events
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION refuse_other_users();
CREATE OR REPLACE TRIGGER credit_usage_events_void_moved AFTER DELETE ON credit_usage_events
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION refuse_loss();
CREATE OR REPLACE TRIGGER credit_usage_events_no_demo AFTER INSERT ON credit_usage_events
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION refuse_demo_events();

CREATE OR REPLACE TRIGGER voided_credit_usage_events_immutable
    BEFORE UPDATE OF id, user_id, created_at, recorded_at, version, price_id, input_tokens, output_tokens,
        cache_read_tokens, cache_write_tokens, reasoning_tokens, occurred_at_given, action_type, credits_charged,
        api_cost, credits_per_dollar, multiplier, cost_source, balance_after, available_after, quantity, model_used,
        provider, hold_id, voided_at, void_version, void_balance_after, voided_by
        OR DELETE OR TRUNCATE ON voided_credit_usage_events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE OR REPLACE TRIGGER voided_credit_usage_events_anonymise BEFORE UPDATE ON voided_credit_usage_events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_but_correction('anonymise');
CREATE OR REPLACE TRIGGER voided_credit_usage_events_anonymise_one AFTER UPDATE ON voided_credit_usage_events
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION refuse_other_users();

CREATE OR REPLACE TRIGGER credit_ledger_entries_immutable
    BEFORE UPDATE OF id, user_id, kind, amount, recorded_at, period_start, balance_after, version, actor, event_id,
        lot_id OR TRUNCATE ON credit_ledger_entries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE OR REPLACE TRIGGER credit_ledger_entries_anonymise BEFORE UPDATE ON credit_ledger_entries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_but_correction('anonymise');
CREATE OR REPLACE TRIGGER credit_ledger_entries_anonymise_one AFTER UPDATE ON credit_ledger_entries
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION refuse_other_users();
CREATE OR REPLACE TRIGGER credit_ledger_entries_no_delete AFTER DELETE ON credit_ledger_entries
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION refuse_ledger_delete();

CREATE OR REPLACE TRIGGER credit_operations_immutable
    BEFORE UPDATE OF user_id, verb, content, answer, recorded_at OR DELETE OR TRUNCATE ON credit_operations
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE OR REPLACE TRIGGER credit_operations_anonymise BEFORE UPDATE ON credit_operations
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_but_correction('anonymise');
CREATE OR REPLACE TRIGGER credit_operations_anonymise_one AFTER UPDATE ON credit_operations
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION refuse_other_users();

-- A capture or a release changes a hold; none ever goes.
CREATE OR REPLACE TRIGGER credit_holds_immutable BEFORE DELETE OR TRUNCATE ON credit_holds
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE OR REPLACE TRIGGER credit_alerts_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON credit_alerts
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE OR REPLACE TRIGGER credit_lots_booked BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON credit_lots
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_but_booking();
CREATE OR REPLACE TRIGGER credit_lot_draws_booked BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON credit_lot_draws
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_but_booking();
CREATE OR REPLACE TRIGGER credit_lot_returns_booked BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON credit_lot_returns
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_but_booking();

CREATE OR REPLACE TRIGGER price_versions_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON price_versions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Of the audit log, anonymise takes out what was said of its user.
CREATE OR REPLACE TRIGGER audit_log_immutable
    BEFORE UPDATE OF id, recorded_at, actor, act, user_id OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE OR REPLACE TRIGGER audit_log_anonymise BEFORE UPDATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_but_correction('anonymise');
CREATE OR REPLACE TRIGGER audit_log_anonymise_one AFTER UPDATE ON audit_log
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION refuse_other_users();
