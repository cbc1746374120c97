-- Writes down why something was done to user :user_id, in the transaction of the act, which has a row of its own. The reason
-- goes with the user's other texts when the user is anonymised.
SELECT say_why(CAST(:user_id AS bigint), CAST(:reason AS text)) AS user_id
