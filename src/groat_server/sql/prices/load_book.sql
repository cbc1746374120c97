-- The one row of the price book.
SELECT version, credits_per_dollar, multiplier, unknown_model, fallback_rates, catalogue_version
FROM price_book
