-- The newest :limit administrative acts from :since until before :until (null: no bound), concerning user :user_id or (null) all.
SELECT audit_log.id, audit_log.recorded_at, audit_log.actor, audit_log.act, audit_log.user_id, users.email,
    CAST(audit_log.details AS text) AS details
FROM audit_log
LEFT JOIN users ON users.id = audit_log.user_id
WHERE (CAST(:user_id AS bigint) IS NULL OR audit_log.user_id = CAST(:user_id AS bigint))
    AND (CAST(:since AS timestamptz) IS NULL OR audit_log.recorded_at >= CAST(:since AS timestamptz))
    AND (CAST(:until AS timestamptz) IS NULL OR audit_log.recorded_at < CAST(:until AS timestamptz))
ORDER BY audit_log.id DESC
LIMIT :limit
