-- What there is of the sample data; no row where its main user does not exist.
SELECT users.created_at,
    EXISTS (
        SELECT FROM credit_usage_events AS event
        WHERE event.user_id = users.id AND event.idempotency_key = CAST(:first_key AS text)
    ) AS has_first,
    EXISTS (
        SELECT FROM credit_usage_events AS event
        WHERE event.user_id = users.id AND event.idempotency_key = CAST(:last_key AS text)
    ) AS has_last
FROM user_emails
JOIN users ON users.id = user_emails.user_id
WHERE user_emails.email = :email
