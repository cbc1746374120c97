-- The administrator who was there first. No row: there is none.
SELECT id AS user_id FROM users WHERE is_admin AND anonymised_at IS NULL ORDER BY id LIMIT 1
