-- Changes what is given of one user; null leaves a column as it is.
UPDATE users
SET email = coalesce(CAST(:email AS text), email),
    full_name = coalesce(CAST(:full_name AS text), full_name),
    demo_mode = coalesce(CAST(:demo_mode AS boolean), demo_mode),
    is_admin = coalesce(CAST(:is_admin AS boolean), is_admin),
    time_zone = coalesce(CAST(:time_zone AS text), time_zone)
WHERE id = :user_id
RETURNING id AS user_id
