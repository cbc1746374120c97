-- The version that charges must have been priced under.
SELECT version FROM price_book
