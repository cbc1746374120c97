-- Registers action types on their first use, up to 500 in all, unless the list is strict. Returns those asked for that
-- are registered now.
WITH asked AS (
    SELECT DISTINCT name FROM unnest(CAST(:names AS text[])) AS asked(name)
), room AS (
    SELECT CASE WHEN strict_action_types THEN 0 ELSE 500 - (SELECT count(*) FROM action_types) END AS free
    FROM ledger_settings
), added AS (
    INSERT INTO action_types (name)
    SELECT asked.name FROM asked
    WHERE NOT EXISTS (SELECT FROM action_types WHERE action_types.name = asked.name)
    ORDER BY asked.name
    LIMIT greatest(0, (SELECT free FROM room))
    ON CONFLICT DO NOTHING
    RETURNING name
)
SELECT name FROM action_types WHERE name IN (SELECT name FROM asked)
UNION
SELECT name FROM added
