-- One new user; triggers claim the names and open the balance.
INSERT INTO users (email, full_name, external_id, demo_mode, is_admin, time_zone, opening_allowance, created_at)
VALUES (
    :email, :full_name, :external_id, :demo_mode, :is_admin, :time_zone,
    trim_scale(CAST(:monthly_allowance AS numeric)), coalesce(CAST(:created_at AS timestamptz), now())
)
RETURNING id AS user_id
