-- Usage is arriving: there is an event of the last 24 hours.
SELECT 'the ledger' AS subject,
    coalesce('the last event is of ' || CAST(max(created_at) AS text), 'there is no event yet') AS finding
FROM credit_usage_events
HAVING max(created_at) IS NULL OR max(created_at) < now() - interval '24 hours'
