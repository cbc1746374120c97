-- Who did what by way of administration, written in the transaction of the act itself, by whatever path it came.
-- Personal data is not repeated here: of e-mail addresses, names and external ids it only says that they changed.

-- Who acts in this transaction: what the operation has set, or the database role where SQL is run by hand.
CREATE OR REPLACE FUNCTION acting() RETURNS text
LANGUAGE sql STABLE
SET search_path FROM CURRENT
AS $$ SELECT coalesce(nullif(current_setting('groat.actor', true), ''), 'role:' || session_user) $$;

-- Writes one row of the audit log. Without an actor it is whoever acts in this transaction.
CREATE OR REPLACE FUNCTION audit(actor text, act text, user_id bigint, details jsonb) RETURNS void
LANGUAGE sql
SET search_path FROM CURRENT
AS $$
    INSERT INTO audit_log (recorded_at, actor, act, user_id, details)
    VALUES (clock_timestamp(), coalesce($1, acting()), $2, $3, coalesce($4, '{}'));
$$;

-- Writes why something was done to a user, in the transaction of the act, which has a row of its own.
CREATE OR REPLACE FUNCTION say_why(account_user_id bigint, why text) RETURNS bigint
LANGUAGE sql
SET search_path FROM CURRENT
AS $$
    SELECT audit(NULL, 'reason', account_user_id, jsonb_build_object('reason', why));
    SELECT account_user_id;
$$;

-- The columns in which two states of a row differ, and their values; of the columns in `unsaid` the names only.
CREATE OR REPLACE FUNCTION audited_difference(before jsonb, after jsonb, unsaid text[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE
SET search_path FROM CURRENT
AS $$
    WITH changed AS (
        SELECT key, before -> key AS old, value AS new FROM jsonb_each(after)
        WHERE value IS DISTINCT FROM before -> key
    )
    SELECT jsonb_build_object(
        'columns', coalesce(jsonb_agg(key ORDER BY key), '[]'),
        'before', coalesce(jsonb_object_agg(key, old) FILTER (WHERE key <> ALL (unsaid)), '{}'),
        'after', coalesce(jsonb_object_agg(key, new) FILTER (WHERE key <> ALL (unsaid)), '{}')
    )
    FROM changed
$$;

-- A statement that creates many users, an import or an application's first charges, is one act.
CREATE OR REPLACE FUNCTION users_audit_created() RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    created record;
    admins jsonb;
BEGIN
    SELECT count(*) AS count, min(id) AS first_id, max(id) AS last_id INTO created FROM added;
    IF created.count = 1 THEN
        PERFORM audit(NULL, 'user_created', id, jsonb_build_object(
            'is_admin', is_admin, 'demo_mode', demo_mode, 'time_zone', time_zone, 'period_anchor', period_anchor,
            'opening_allowance', opening_allowance
        ))
        FROM added;
    ELSIF created.count > 1 THEN
        SELECT jsonb_agg(id ORDER BY id) INTO admins FROM added WHERE is_admin;
        PERFORM audit(NULL, 'users_created', NULL, jsonb_strip_nulls(to_jsonb(created) || jsonb_build_object('admins', admins)));
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION users_audit_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM audit(NULL, 'user_deleted', OLD.id, NULL);
    ELSE
        PERFORM audit(NULL, 'user_changed', OLD.id, audited_difference(
            to_jsonb(OLD), to_jsonb(NEW), ARRAY['email', 'full_name', 'external_id']
        ));
    END IF;
    RETURN NULL;
END
$$;

-- Tokens are told by their prefix: it is shown in lists and opens nothing.
CREATE OR REPLACE FUNCTION tokens_audit() RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    token access_tokens;
    act text;
    details jsonb;
BEGIN
    IF TG_OP = 'DELETE' THEN
        token := OLD;
    ELSE
        token := NEW;
    END IF;
    details := jsonb_build_object('token_id', token.id, 'prefix', token.prefix, 'scopes', token.scopes);
    CASE TG_OP
        WHEN 'INSERT' THEN
            act := 'token_created';
            details := details || jsonb_build_object('expires_at', token.expires_at);
        WHEN 'DELETE' THEN
            act := 'token_deleted';
        ELSE
            act := CASE WHEN OLD.revoked_at IS NULL AND NEW.revoked_at IS NOT NULL
                THEN 'token_revoked' ELSE 'token_changed' END;
            details := details || audited_difference(
                to_jsonb(OLD) - 'last_used_at', to_jsonb(NEW) - 'last_used_at', ARRAY['name', 'token_hash']
            );
    END CASE;
    PERFORM audit(NULL, act, token.user_id, details);
    RETURN NULL;
END
$$;

-- Who signs in to the dashboard, and whose session is ended. That a session is in use is noted each minute, and is no act.
CREATE OR REPLACE FUNCTION sessions_audit() RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM audit(NULL, 'session_deleted', OLD.user_id, jsonb_build_object('session_id', OLD.id));
    ELSIF TG_OP = 'INSERT' THEN
        PERFORM audit(NULL, 'session_begun', NEW.user_id, jsonb_strip_nulls(
            jsonb_build_object('session_id', NEW.id, 'token_id', NEW.token_id)
        ));
    ELSIF OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL THEN
        PERFORM audit(NULL, 'session_ended', NEW.user_id, jsonb_build_object('session_id', NEW.id));
    ELSE
        PERFORM audit(NULL, 'session_changed', NEW.user_id, jsonb_build_object('session_id', NEW.id));
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION links_audit() RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    PERFORM audit(NULL, 'login_link_made', NEW.user_id, jsonb_build_object('expires_at', NEW.expires_at));
    RETURN NULL;
END
$$;

-- A price that was set is told in full; a catalogue, which brings thousands in one statement, by their number.
CREATE OR REPLACE FUNCTION prices_audit() RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    counted bigint;
BEGIN
    SELECT count(*) INTO counted FROM added;
    IF counted = 1 THEN
        PERFORM audit(NULL, 'price_set', NULL, jsonb_strip_nulls(to_jsonb(added) - 'note')) FROM added;
    ELSIF counted > 1 THEN
        PERFORM audit(NULL, 'prices_added', NULL, jsonb_build_object('count', counted, 'sources', (
            SELECT jsonb_object_agg(source, rows) FROM (SELECT source, count(*) AS rows FROM added GROUP BY source) AS of_each
        )));
    END IF;
    RETURN NULL;
END
$$;

-- Rows of which there is but one: what changed, from what to what.
CREATE OR REPLACE FUNCTION settings_audit() RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    PERFORM audit(NULL, TG_TABLE_NAME || '_changed', NULL, audited_difference(to_jsonb(OLD), to_jsonb(NEW), '{}'));
    RETURN NULL;
END
$$;

-- Statements that nothing of ours makes. They say how many rows only where that is known.
CREATE OR REPLACE FUNCTION audit_statement() RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    PERFORM audit(NULL, TG_TABLE_NAME || '_' || lower(TG_OP), NULL, NULL);
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER users_audit_created AFTER INSERT ON users
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION users_audit_created();
CREATE OR REPLACE TRIGGER users_audit_changed AFTER UPDATE ON users
    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION users_audit_change();
CREATE OR REPLACE TRIGGER users_audit_deleted AFTER DELETE ON users
    FOR EACH ROW EXECUTE FUNCTION users_audit_change();
CREATE OR REPLACE TRIGGER users_audit_truncated AFTER TRUNCATE ON users
    FOR EACH STATEMENT EXECUTE FUNCTION audit_statement();
CREATE OR REPLACE TRIGGER access_tokens_audit AFTER INSERT OR DELETE ON access_tokens
    FOR EACH ROW EXECUTE FUNCTION tokens_audit();
-- That a token is in use is noted each minute, and is no administrative act.
CREATE OR REPLACE TRIGGER access_tokens_audit_changed
    AFTER UPDATE OF id, user_id, name, prefix, token_hash, scopes, created_at, expires_at, revoked_at,
        replaced_by ON access_tokens
    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION tokens_audit();
CREATE OR REPLACE TRIGGER access_tokens_audit_truncated AFTER TRUNCATE ON access_tokens
    FOR EACH STATEMENT EXECUTE FUNCTION audit_statement();
CREATE OR REPLACE TRIGGER price_versions_audit AFTER INSERT ON price_versions
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION prices_audit();
CREATE OR REPLACE TRIGGER login_links_audit AFTER INSERT ON login_links
    FOR EACH ROW EXECUTE FUNCTION links_audit();
CREATE OR REPLACE TRIGGER dashboard_sessions_audit AFTER INSERT OR DELETE ON dashboard_sessions
    FOR EACH ROW EXECUTE FUNCTION sessions_audit();
CREATE OR REPLACE TRIGGER dashboard_sessions_audit_changed
    AFTER UPDATE OF id, session_hash, user_id, token_id, user_agent, created_at, expires_at, ended_at
    ON dashboard_sessions
    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION sessions_audit();
-- A new price brings a new version of the book and says so itself; the factors are the book's own.
CREATE OR REPLACE TRIGGER price_book_audit
    AFTER UPDATE OF credits_per_dollar, multiplier, unknown_model, fallback_rates ON price_book
    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION settings_audit();
CREATE OR REPLACE TRIGGER ledger_settings_audit AFTER UPDATE ON ledger_settings
    FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION settings_audit();
-- Action types are registered by charges, which is no administrative act; to rename or remove one is.
CREATE OR REPLACE TRIGGER action_types_audit AFTER UPDATE OR DELETE OR TRUNCATE ON action_types
    FOR EACH STATEMENT EXECUTE FUNCTION audit_statement();
