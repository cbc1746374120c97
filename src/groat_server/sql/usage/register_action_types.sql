-- Registers action types that are new; returns those asked for that are registered now.
SELECT name FROM register_action_types(CAST(:names AS text[])) AS name
