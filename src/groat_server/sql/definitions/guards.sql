-- What no path may do: change history, or track a user in demo mode. Statement-level, so that a batch pays once.

CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    RAISE EXCEPTION '% of % is refused: its rows are history', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'GR002', HINT = 'Corrections are new rows, not changes of old ones.';
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

CREATE OR REPLACE TRIGGER credit_usage_events_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON credit_usage_events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE OR REPLACE TRIGGER credit_usage_events_no_demo AFTER INSERT ON credit_usage_events
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION refuse_demo_events();
CREATE OR REPLACE TRIGGER credit_ledger_entries_immutable BEFORE UPDATE OR TRUNCATE ON credit_ledger_entries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE OR REPLACE TRIGGER credit_ledger_entries_no_delete AFTER DELETE ON credit_ledger_entries
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION refuse_ledger_delete();
CREATE OR REPLACE TRIGGER price_versions_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON price_versions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
