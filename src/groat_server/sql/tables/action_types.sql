-- The first :limit action types in the order of their names.
SELECT name, registered_at FROM action_types ORDER BY name LIMIT :limit
