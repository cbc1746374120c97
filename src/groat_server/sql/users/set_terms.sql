-- Changes a user's terms: allowance, overdraft limit, rollover cap; null leaves each as it is. Only `grant_now` moves
-- credits, and needs a key.
SELECT outcome, replayed
FROM set_terms(
    CAST(:user_id AS bigint), CAST(:key AS text), CAST(:allowance AS numeric), CAST(:grant_now AS boolean),
    CAST(:overdraft AS numeric), CAST(:rollover AS numeric), CAST(:actor AS text)
)
