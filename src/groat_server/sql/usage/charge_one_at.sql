-- The same at an instant of the caller's choice, for tests and sample data only.
SELECT ordinal, outcome, event_id, created_at, credits_charged, api_cost, credits_per_dollar, multiplier, cost_source,
    price_id, balance, held, available, version, hold_exceeded, late_capture, voided, next_reset_at, instant
FROM charge_one_at(
    CAST(:at AS timestamptz),
    CAST(:route AS bigint), CAST(:book_version AS bigint), CAST(:priced_from AS timestamptz),
    CAST(:priced_until AS timestamptz), CAST(:skip_locked AS boolean), CAST(:user_id AS bigint), CAST(:key AS text),
    CAST(:action AS text), CAST(:model AS text), CAST(:provider AS text), CAST(:input AS integer),
    CAST(:output AS integer), CAST(:cache_read AS integer), CAST(:cache_write AS integer),
    CAST(:reasoning AS integer), CAST(:quantity AS numeric), CAST(:given_cost AS numeric),
    CAST(:occurred AS timestamptz), CAST(:enforced AS boolean), CAST(:backfill AS boolean), CAST(:refusal AS text),
    CAST(:cost AS numeric), CAST(:rate AS numeric), CAST(:multiplier AS numeric), CAST(:credits AS numeric),
    CAST(:source AS text), CAST(:price AS bigint), CAST(:description AS text), CAST(:session AS text),
    CAST(:metadata AS jsonb), CAST(:hold AS bigint)
)
