-- Takes out who a user was. Outcomes: anonymised, unknown_user, busy.
SELECT anonymise_user(CAST(:user_id AS bigint), CAST(:actor AS text)) AS outcome
