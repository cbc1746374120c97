-- Registers action types on their first use, up to 500 in all, unless the list is strict, and returns those asked for that
-- are registered now. The settings' row is the lock: new types come one caller at a time, and each counts what is there.
CREATE OR REPLACE FUNCTION register_action_types(names text[]) RETURNS SETOF text
LANGUAGE plpgsql
SET search_path FROM CURRENT
SET lock_timeout = '2s'
AS $$
DECLARE
    is_strict boolean;
BEGIN
    SELECT strict_action_types INTO STRICT is_strict FROM ledger_settings FOR UPDATE;
    IF NOT is_strict THEN
        INSERT INTO action_types (name)
        SELECT asked.name
        FROM (SELECT DISTINCT unnest(names) AS name) AS asked
        WHERE NOT EXISTS (SELECT FROM action_types WHERE action_types.name = asked.name)
        ORDER BY asked.name
        LIMIT greatest(0, 500 - (SELECT count(*) FROM action_types));
    END IF;
    RETURN QUERY SELECT action_types.name FROM action_types WHERE action_types.name = ANY (names);
END
$$;
