-- Changes the factors and the policy that are common to all prices, and makes a new version of the price book; null
-- leaves a column as it is. Out: the price book.
UPDATE price_book
SET version = version + 1,
    credits_per_dollar = coalesce(CAST(:credits_per_dollar AS numeric), credits_per_dollar),
    multiplier = coalesce(CAST(:multiplier AS numeric), multiplier),
    unknown_model = coalesce(CAST(:unknown_model AS text), unknown_model),
    fallback_rates = coalesce(CAST(:fallback_rates AS jsonb), fallback_rates)
RETURNING version, credits_per_dollar, multiplier, unknown_model, fallback_rates, catalogue_version
