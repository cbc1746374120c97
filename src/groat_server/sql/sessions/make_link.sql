-- A link that signs an administrator in, once, for :minutes minutes. No row: the user is no administrator.
INSERT INTO login_links (link_hash, user_id, expires_at)
SELECT CAST(:link_hash AS bytea), id, now() + make_interval(mins => CAST(:minutes AS integer))
FROM users WHERE id = :user_id AND is_admin AND anonymised_at IS NULL
RETURNING user_id
