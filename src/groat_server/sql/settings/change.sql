-- Changes what is given of what all services share; null leaves it as it is.
UPDATE ledger_settings
SET default_allowance = coalesce(trim_scale(CAST(:default_allowance AS numeric)), default_allowance),
    create_users = coalesce(CAST(:create_users AS boolean), create_users),
    strict_action_types = coalesce(CAST(:strict_action_types AS boolean), strict_action_types),
    alert_below = coalesce(CAST(:alert_below AS numeric[]), alert_below)
RETURNING default_allowance, create_users, strict_action_types, alert_below
