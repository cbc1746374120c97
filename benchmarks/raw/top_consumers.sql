-- The guide's top consumers of thirty days.
SELECT person.email, count(event.id), round(sum(event.credits_charged), 2) AS total
FROM credit_usage_events AS event
JOIN users AS person ON person.id = event.user_id
WHERE event.created_at > now() - interval '30 days'
GROUP BY person.id, person.email
ORDER BY total DESC
LIMIT 20
