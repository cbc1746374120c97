-- The ids behind what requests call users: an id, an e-mail address or an external id each. One row
-- an input row, in order; null where nobody is called that.
SELECT coalesce(users.id, user_emails.user_id, user_external_ids.user_id) AS user_id
FROM unnest(CAST(:ids AS bigint[]), CAST(:emails AS text[]), CAST(:external_ids AS text[])) WITH ORDINALITY
    AS asked(id, email, external_id, ordinal)
LEFT JOIN users ON users.id = asked.id
LEFT JOIN user_emails ON user_emails.email = normal_email(asked.email)
LEFT JOIN user_external_ids ON user_external_ids.external_id = asked.external_id
ORDER BY asked.ordinal
