-- Whom a host application's token names, with the admin flag as it is now. No row: nobody of this name.
SELECT id AS user_id, is_admin
FROM users
WHERE anonymised_at IS NULL
    AND id = CASE
        WHEN CAST(:email AS text) IS NULL THEN (
            SELECT user_id FROM user_external_ids WHERE external_id = CAST(:external_id AS text)
        )
        ELSE (SELECT user_id FROM user_emails WHERE email = normal_email(CAST(:email AS text)))
    END
