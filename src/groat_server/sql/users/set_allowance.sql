-- Changes a monthly allowance; the count is 0 where the user has no balance.
SELECT CASE WHEN set_allowance(
    CAST(:user_id AS bigint), CAST(:allowance AS numeric), CAST(:grant_now AS boolean), CAST(:actor AS text)
) THEN 1 ELSE 0 END AS count
