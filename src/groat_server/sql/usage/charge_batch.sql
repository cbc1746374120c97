-- Charges in, outcomes out, in order: see definitions/charge_batch.sql.
SELECT ordinal, outcome, event_id, created_at, credits_charged, api_cost, credits_per_dollar, multiplier, cost_source,
    price_id, balance, held, available, version, hold_exceeded, late_capture, voided, next_reset_at, instant
FROM charge_batch(
    CAST(:route AS bigint), CAST(:book_version AS bigint), CAST(:priced_from AS timestamptz),
    CAST(:priced_until AS timestamptz), CAST(:skip_locked AS boolean), CAST(:user_ids AS bigint[]),
    CAST(:keys AS text[]), CAST(:actions AS text[]), CAST(:models AS text[]), CAST(:providers AS text[]),
    CAST(:inputs AS integer[]), CAST(:outputs AS integer[]), CAST(:cache_reads AS integer[]),
    CAST(:cache_writes AS integer[]), CAST(:reasonings AS integer[]), CAST(:quantities AS numeric[]),
    CAST(:given_costs AS numeric[]), CAST(:occurred AS timestamptz[]), CAST(:enforced AS boolean[]),
    CAST(:backfills AS boolean[]), CAST(:refusals AS text[]), CAST(:costs AS numeric[]),
    CAST(:rates AS numeric[]), CAST(:multipliers AS numeric[]), CAST(:credits AS numeric[]),
    CAST(:sources AS text[]), CAST(:prices AS bigint[]), CAST(:descriptions AS text[]),
    CAST(:sessions AS text[]), CAST(:metadatas AS jsonb[]),
    CAST(:holds AS bigint[]), CAST(:settled AS boolean)
)
