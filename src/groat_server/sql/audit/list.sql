-- Administrative acts, newest first, before a cursor: of one user, of one kind, of one actor, or all.
SELECT audit_log.id, audit_log.recorded_at, audit_log.actor, audit_log.act, audit_log.user_id, users.email,
    audit_log.details
FROM audit_log LEFT JOIN users ON users.id = audit_log.user_id
WHERE (CAST(:user_id AS bigint) IS NULL OR audit_log.user_id = CAST(:user_id AS bigint))
    AND (CAST(:act AS text) IS NULL OR audit_log.act = CAST(:act AS text))
    AND (CAST(:actor AS text) IS NULL OR audit_log.actor = CAST(:actor AS text))
    AND (CAST(:before AS bigint) IS NULL OR audit_log.id < CAST(:before AS bigint))
ORDER BY audit_log.id DESC
LIMIT :limit
