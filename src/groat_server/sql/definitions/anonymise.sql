-- Takes out of the ledger who a user was. Users are never deleted: amounts, models, tokens, times and balances stay as
-- they are, so that no total moves by a digit.

-- A key, or a digest in its place where it names the user. The user can be charged no more, so nobody repeats it.
CREATE OR REPLACE FUNCTION anonymous_key(key text, names text[]) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path FROM CURRENT
AS $$
    SELECT CASE
        WHEN EXISTS (SELECT FROM unnest(names) AS name WHERE strpos(lower(key), lower(name)) > 0)
            THEN 'sha256:' || encode(sha256(convert_to(key, 'UTF8')), 'hex')
        ELSE key
    END
$$;

-- Outcomes: anonymised (now or before), unknown_user, busy (the balance has bookings in the future).
CREATE OR REPLACE FUNCTION anonymise_user_at(at timestamptz, account_user_id bigint, acting text) RETURNS text
LANGUAGE plpgsql
SET search_path FROM CURRENT
SET lock_timeout = '2s'
AS $$
#variable_conflict use_column
DECLARE
    person users;
    names text[];
    instant timestamptz;
BEGIN
    PERFORM begin_booking();
    -- As whoever changes demo mode does: the user first, then the balance.
    SELECT * INTO person FROM users WHERE id = account_user_id FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 'unknown_user';
    ELSIF person.anonymised_at IS NOT NULL THEN
        RETURN 'anonymised';
    END IF;
    instant := coalesce(settle_account_at(at, account_user_id), at, clock_timestamp());
    IF at IS NULL AND instant > clock_timestamp() + interval '5 minutes' THEN
        RETURN 'busy';
    END IF;
    names := array_remove(ARRAY[person.email, person.external_id, nullif(person.full_name, '')], NULL);

    PERFORM set_config('groat.correcting', 'anonymise', true),
        set_config('groat.correcting_user', account_user_id::text, true);
    UPDATE credit_usage_events
    SET description = NULL, session_id = NULL, metadata = NULL, idempotency_key = anonymous_key(idempotency_key, names)
    WHERE user_id = account_user_id AND (
        description IS NOT NULL OR session_id IS NOT NULL OR metadata IS NOT NULL
        OR idempotency_key <> anonymous_key(idempotency_key, names)
    );
    UPDATE voided_credit_usage_events
    SET description = NULL, session_id = NULL, metadata = NULL, void_reason = NULL,
        idempotency_key = anonymous_key(idempotency_key, names)
    WHERE user_id = account_user_id;
    UPDATE credit_operations SET idempotency_key = anonymous_key(idempotency_key, names)
    WHERE user_id = account_user_id AND idempotency_key <> anonymous_key(idempotency_key, names);
    UPDATE credit_ledger_entries SET reason = NULL WHERE user_id = account_user_id AND reason IS NOT NULL;
    UPDATE credit_lots SET reason = NULL WHERE user_id = account_user_id AND reason IS NOT NULL;
    UPDATE credit_holds
    SET description = NULL, idempotency_key = anonymous_key(idempotency_key, names),
        released_at = CASE WHEN state = 'open' AND expires_at > instant THEN instant ELSE released_at END,
        state = CASE
            WHEN state = 'open' AND expires_at > instant THEN 'released'
            WHEN state = 'open' THEN 'expired'
            ELSE state
        END
    WHERE user_id = account_user_id;
    UPDATE user_credit_balances
    SET last_recorded_at = greatest(last_recorded_at, instant), has_operations = true
    WHERE user_id = account_user_id;
    UPDATE audit_log SET details = details - 'reason' WHERE user_id = account_user_id AND details ? 'reason';
    PERFORM set_config('groat.correcting', '', true), set_config('groat.correcting_user', '', true);

    UPDATE access_tokens SET revoked_at = coalesce(revoked_at, instant), name = '' WHERE user_id = account_user_id;
    UPDATE dashboard_sessions SET ended_at = coalesce(ended_at, instant), user_agent = ''
    WHERE user_id = account_user_id;
    UPDATE users
    SET email = 'anonymous-' || gen_random_uuid() || '@users.invalid', full_name = NULL, external_id = NULL,
        is_admin = false, anonymised_at = instant
    WHERE id = account_user_id;
    PERFORM audit(acting, 'anonymise', account_user_id, NULL);
    RETURN 'anonymised';
END
$$;

CREATE OR REPLACE FUNCTION anonymise_user(account_user_id bigint, acting text) RETURNS text
LANGUAGE sql
SET search_path FROM CURRENT
AS $$ SELECT anonymise_user_at(NULL, account_user_id, acting) $$;
