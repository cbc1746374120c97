-- Creates the users of these e-mail addresses who do not exist yet.
INSERT INTO users (email)
SELECT DISTINCT normal_email(given)
FROM unnest(CAST(:emails AS text[])) AS given
WHERE NOT EXISTS (SELECT FROM user_emails WHERE user_emails.email = normal_email(given))
ORDER BY 1
RETURNING id AS user_id
