-- The service connects as a role that could not change the books by hand even if it tried: neither a superuser nor the
-- owner of the tables (`groat db roles`).
SELECT session_user::text AS subject,
    CASE WHEN rolsuper THEN 'is a superuser' ELSE 'owns the tables' END AS finding
FROM pg_roles
WHERE rolname = session_user
    AND (
        rolsuper
        OR pg_has_role(oid, (SELECT relowner FROM pg_class WHERE oid = 'credit_usage_events'::regclass), 'MEMBER')
    )
