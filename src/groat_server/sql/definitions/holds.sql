-- Holds: credits set aside before a use. A hold never changes the balance and takes no lots; a capture is a charge.

-- Sets credits aside, iff they are available.
CREATE OR REPLACE FUNCTION place_hold_at(
    at timestamptz, account_user_id bigint, key text, hold_amount numeric, seconds integer, hold_action_type text,
    hold_model text, hold_description text, asked jsonb
) RETURNS credit_operation_answer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    answer credit_operation_answer := begin_operation(at, account_user_id, key, 'hold', asked);
BEGIN
    IF answer.outcome = 'demo_mode' THEN
        answer.outcome := 'untracked';
    END IF;
    IF answer.outcome IS NOT NULL THEN
        RETURN answer;
    END IF;
    answer.amount := trim_scale(hold_amount);
    answer := with_balance(answer, account_user_id);
    IF answer.amount > 0 AND answer.amount > answer.available THEN
        answer.outcome := 'insufficient_credits';
        RETURN answer;
    END IF;
    answer.outcome := 'held';
    answer.state := 'open';
    answer.expires_at := answer.recorded_at + make_interval(secs => seconds);
    INSERT INTO credit_holds
        (user_id, idempotency_key, amount, created_at, expires_at, action_type, model, description)
    VALUES (
        account_user_id, key, answer.amount, answer.recorded_at, answer.expires_at, hold_action_type, hold_model,
        hold_description
    )
    RETURNING id INTO answer.hold_id;
    UPDATE user_credit_balances
    SET held_until = greatest(held_until, answer.expires_at), last_recorded_at = answer.recorded_at
    WHERE user_id = account_user_id;
    RETURN finish_operation(answer, account_user_id, key, 'hold', asked);
END
$$;

CREATE OR REPLACE FUNCTION place_hold(
    account_user_id bigint, key text, hold_amount numeric, seconds integer, hold_action_type text, hold_model text,
    hold_description text, asked jsonb
) RETURNS credit_operation_answer
LANGUAGE sql
SET search_path FROM CURRENT
AS $$
    SELECT place_hold_at(
        NULL, account_user_id, key, hold_amount, seconds, hold_action_type, hold_model, hold_description, asked
    )
$$;

-- Locks the balance and returns a hold as it is then, with the instant in recorded_at. An outcome says why there is
-- nothing to be done: unknown_hold, busy.
CREATE OR REPLACE FUNCTION find_hold(at timestamptz, account_user_id bigint, wanted_hold_id bigint)
RETURNS credit_operation_answer
LANGUAGE plpgsql
SET search_path FROM CURRENT
SET lock_timeout = '2s'
AS $$
DECLARE
    answer credit_operation_answer;
    hold credit_holds;
BEGIN
    PERFORM begin_booking();
    answer.replayed := false;
    answer.recorded_at := settle_account_at(at, account_user_id);
    IF at IS NULL AND answer.recorded_at > clock_timestamp() + interval '5 minutes' THEN
        answer.outcome := 'busy';
        RETURN answer;
    END IF;
    SELECT * INTO hold FROM credit_holds WHERE user_id = account_user_id AND id = wanted_hold_id;
    IF NOT FOUND THEN
        answer.outcome := 'unknown_hold';
        RETURN answer;
    END IF;
    answer.hold_id := hold.id;
    answer.amount := hold.amount;
    answer.starts_at := hold.created_at;
    answer.expires_at := hold.expires_at;
    answer.event_id := hold.event_id;
    answer.state := CASE
        WHEN hold.state = 'open' AND hold.expires_at <= answer.recorded_at THEN 'expired' ELSE hold.state
    END;
    RETURN answer;
END
$$;

-- Lets a hold live longer: to `seconds` from now where that is later, up to seven days in all.
CREATE OR REPLACE FUNCTION renew_hold_at(
    at timestamptz, account_user_id bigint, wanted_hold_id bigint, seconds integer
) RETURNS credit_operation_answer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    answer credit_operation_answer := find_hold(at, account_user_id, wanted_hold_id);
BEGIN
    IF answer.outcome IS NOT NULL THEN
        RETURN answer;
    END IF;
    IF answer.state <> 'open' THEN
        answer.outcome := CASE answer.state WHEN 'captured' THEN 'hold_captured' ELSE 'hold_not_open' END;
        RETURN answer;
    END IF;
    answer.outcome := 'renewed';
    UPDATE credit_holds
    SET expires_at = least(
        greatest(expires_at, answer.recorded_at + make_interval(secs => seconds)), created_at + interval '7 days'
    )
    WHERE user_id = account_user_id AND id = wanted_hold_id
    RETURNING expires_at INTO answer.expires_at;
    UPDATE user_credit_balances
    SET held_until = greatest(held_until, answer.expires_at), last_recorded_at = answer.recorded_at
    WHERE user_id = account_user_id;
    RETURN with_balance(answer, account_user_id);
END
$$;

CREATE OR REPLACE FUNCTION renew_hold(account_user_id bigint, wanted_hold_id bigint, seconds integer)
RETURNS credit_operation_answer
LANGUAGE sql
SET search_path FROM CURRENT
AS $$ SELECT renew_hold_at(NULL, account_user_id, wanted_hold_id, seconds) $$;

-- Lets a hold go. One that is gone already, released or expired, is answered the same.
CREATE OR REPLACE FUNCTION release_hold_at(at timestamptz, account_user_id bigint, wanted_hold_id bigint)
RETURNS credit_operation_answer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    answer credit_operation_answer := find_hold(at, account_user_id, wanted_hold_id);
BEGIN
    IF answer.outcome IS NOT NULL THEN
        RETURN answer;
    END IF;
    IF answer.state = 'captured' THEN
        answer.outcome := 'hold_captured';
        RETURN answer;
    END IF;
    answer.outcome := 'released';
    IF answer.state = 'open' THEN
        answer.state := 'released';
        UPDATE credit_holds SET state = 'released', released_at = answer.recorded_at
        WHERE user_id = account_user_id AND id = wanted_hold_id;
        UPDATE user_credit_balances SET last_recorded_at = answer.recorded_at WHERE user_id = account_user_id;
    END IF;
    RETURN with_balance(answer, account_user_id);
END
$$;

CREATE OR REPLACE FUNCTION release_hold(account_user_id bigint, wanted_hold_id bigint)
RETURNS credit_operation_answer
LANGUAGE sql
SET search_path FROM CURRENT
AS $$ SELECT release_hold_at(NULL, account_user_id, wanted_hold_id) $$;

-- Writes down that holds have expired. They stopped counting when they did; this only keeps the table readable.
CREATE OR REPLACE FUNCTION sweep_holds_at(at timestamptz, batch integer) RETURNS integer
LANGUAGE sql
SET search_path FROM CURRENT
AS $$
    WITH expired AS (
        SELECT user_id, id FROM credit_holds
        WHERE state = 'open' AND expires_at <= at
        LIMIT batch
        FOR NO KEY UPDATE SKIP LOCKED
    ), written AS (
        UPDATE credit_holds AS hold SET state = 'expired'
        FROM expired WHERE hold.user_id = expired.user_id AND hold.id = expired.id
        RETURNING hold.id
    )
    SELECT count(*)::integer FROM written
$$;

CREATE OR REPLACE FUNCTION sweep_holds(batch integer) RETURNS integer
LANGUAGE sql
SET search_path FROM CURRENT
AS $$ SELECT sweep_holds_at(clock_timestamp(), batch) $$;
