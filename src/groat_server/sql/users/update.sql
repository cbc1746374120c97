-- Changes what is given of one user; null leaves a column as it is. No row: there is nobody to change.
UPDATE users
SET email = coalesce(CAST(:email AS text), email),
    full_name = coalesce(CAST(:full_name AS text), full_name),
    demo_mode = coalesce(CAST(:demo_mode AS boolean), demo_mode),
    is_admin = coalesce(CAST(:is_admin AS boolean), is_admin),
    time_zone = coalesce(CAST(:time_zone AS text), time_zone),
    period_anchor = coalesce(CAST(:period_anchor AS timestamptz), period_anchor)
WHERE id = :user_id AND anonymised_at IS NULL
RETURNING id AS user_id
