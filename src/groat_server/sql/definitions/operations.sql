-- What every verb but charge has in common: one transaction of the right kind, the balance's lock, the key, the answer.

-- What money rests on: row locks and fresh snapshots a statement (READ COMMITTED), and a commit that is on the disk.
CREATE OR REPLACE FUNCTION begin_booking() RETURNS void
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'the ledger books under READ COMMITTED, not %', current_setting('transaction_isolation')
            USING ERRCODE = 'GR004';
    END IF;
    IF current_setting('synchronous_commit') NOT IN ('on', 'remote_apply') THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
END
$$;

-- What a user's open holds come to at an instant. One that has expired stops counting that very microsecond.
CREATE OR REPLACE FUNCTION held_credits(account_user_id bigint, at timestamptz) RETURNS numeric
LANGUAGE sql STABLE
SET search_path FROM CURRENT
AS $$
    SELECT coalesce(trim_scale(sum(amount)), 0) FROM credit_holds
    WHERE user_id = account_user_id AND state = 'open' AND expires_at > at
$$;

-- Fills in what an answer says of the balance, as of its own instant.
CREATE OR REPLACE FUNCTION with_balance(answer credit_operation_answer, account_user_id bigint)
RETURNS credit_operation_answer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    answer.held := held_credits(account_user_id, answer.recorded_at);
    SELECT balance.current_balance, trim_scale(balance.current_balance + balance.overdraft_limit - answer.held),
        balance.next_reset_at, coalesce(answer.version, balance.version)
    INTO answer.balance, answer.available, answer.next_reset_at, answer.version
    FROM user_credit_balances AS balance WHERE balance.user_id = account_user_id;
    RETURN answer;
END
$$;

-- Begins a verb: locks the balance, carries out what is due, and looks the key up under the lock. The answer has an
-- outcome where there is nothing more to do; otherwise recorded_at is the instant of the verb.
CREATE OR REPLACE FUNCTION begin_operation(
    at timestamptz, account_user_id bigint, key text, asked_verb text, asked jsonb
) RETURNS credit_operation_answer
LANGUAGE plpgsql
SET search_path FROM CURRENT
SET lock_timeout = '2s'
AS $$
DECLARE
    answer credit_operation_answer;
    stored credit_operations;
BEGIN
    PERFORM begin_booking();
    answer.replayed := false;
    answer.recorded_at := settle_account_at(at, account_user_id);
    IF answer.recorded_at IS NULL THEN
        answer.outcome := CASE WHEN EXISTS (
            SELECT FROM users WHERE id = account_user_id AND demo_mode AND anonymised_at IS NULL
        ) THEN 'demo_mode' ELSE 'unknown_user' END;
        RETURN answer;
    END IF;
    IF EXISTS (SELECT FROM users WHERE id = account_user_id AND anonymised_at IS NOT NULL) THEN
        answer.outcome := 'unknown_user';
        RETURN answer;
    END IF;
    -- As in charge_batch: a balance booked in the future, by hand or under a clock set back, waits until it is past.
    IF at IS NULL AND answer.recorded_at > clock_timestamp() + interval '5 minutes' THEN
        answer.outcome := 'busy';
        RETURN answer;
    END IF;
    SELECT * INTO stored FROM credit_operations
    WHERE user_id = account_user_id AND idempotency_key = key;
    IF FOUND AND stored.verb = asked_verb AND stored.content = asked THEN
        answer := jsonb_populate_record(NULL::credit_operation_answer, stored.answer);
        answer.replayed := true;
    ELSIF FOUND OR EXISTS (
        SELECT FROM credit_usage_events WHERE user_id = account_user_id AND idempotency_key = key
    ) OR EXISTS (
        SELECT FROM voided_credit_usage_events WHERE user_id = account_user_id AND idempotency_key = key
    ) THEN
        answer.outcome := 'idempotency_conflict';
    END IF;
    RETURN answer;
END
$$;

-- Ends a verb that had its effect: completes the answer and keeps it under the key, for ever.
CREATE OR REPLACE FUNCTION finish_operation(
    answer credit_operation_answer, account_user_id bigint, key text, done_verb text, asked jsonb
) RETURNS credit_operation_answer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
#variable_conflict use_variable
BEGIN
    answer := with_balance(answer, account_user_id);
    INSERT INTO credit_operations (user_id, idempotency_key, verb, content, answer, recorded_at)
    VALUES (account_user_id, key, done_verb, asked, to_jsonb(answer), answer.recorded_at);
    UPDATE user_credit_balances AS balance SET has_operations = true
    WHERE balance.user_id = account_user_id AND NOT balance.has_operations;
    RETURN answer;
END
$$;
