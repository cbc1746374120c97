-- The one row of the price book, locked until the transaction ends: whoever appends prices does it one after another,
-- so that ids, starts and versions of the book rise together.
SELECT version, credits_per_dollar, multiplier, unknown_model, fallback_rates, catalogue_version
FROM price_book
FOR UPDATE
