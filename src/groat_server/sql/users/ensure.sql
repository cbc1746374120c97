-- Creates the users of these e-mail addresses who do not exist yet.
INSERT INTO users (email)
SELECT DISTINCT asked.email
FROM unnest(CAST(:emails AS text[])) AS asked(email)
WHERE NOT EXISTS (SELECT FROM user_emails WHERE user_emails.email = asked.email)
RETURNING id AS user_id
