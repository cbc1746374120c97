-- Giving back what was charged: a refund leaves the event as it is, a void takes it out of usage.

-- Gives back `refund_amount` credits of an event (null: all that is left of it); together never more than it was charged.
-- The credits that were drawn last go back first.
CREATE OR REPLACE FUNCTION refund_event_at(
    at timestamptz, account_user_id bigint, key text, refunded_event_id bigint, refund_amount numeric,
    refund_reason text, acting text
) RETURNS credit_operation_answer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    asked jsonb := jsonb_strip_nulls(
        jsonb_build_object('event_id', refunded_event_id, 'amount', trim_scale(refund_amount))
    );
    answer credit_operation_answer := begin_operation(at, account_user_id, key, 'refund', asked);
    event credit_usage_events;
    refunded numeric;
    stretch_to numeric;
BEGIN
    IF answer.outcome IS NOT NULL THEN
        RETURN answer;
    END IF;
    SELECT * INTO event FROM credit_usage_events
    WHERE user_id = account_user_id AND id = refunded_event_id;
    IF NOT FOUND THEN
        answer.outcome := CASE WHEN EXISTS (
            SELECT FROM voided_credit_usage_events WHERE user_id = account_user_id AND id = refunded_event_id
        ) THEN 'event_voided' ELSE 'unknown_event' END;
        RETURN answer;
    END IF;
    SELECT coalesce(sum(entry.amount), 0) INTO refunded
    FROM credit_ledger_entries AS entry
    WHERE entry.user_id = account_user_id AND entry.event_id = refunded_event_id AND entry.kind = 'refund';
    answer.amount := trim_scale(coalesce(refund_amount, event.credits_charged - refunded));
    answer.event_id := refunded_event_id;
    IF answer.amount = 0 THEN
        answer.outcome := 'nothing_to_refund';
    ELSIF answer.amount > event.credits_charged - refunded THEN
        answer.outcome := 'refund_exceeds_charge';
    END IF;
    IF answer.outcome IS NOT NULL THEN
        RETURN answer;
    END IF;

    answer.outcome := 'refunded';
    answer.kind := 'refund';
    PERFORM allocate_consumption(account_user_id);
    stretch_to := end_of_event(account_user_id, event.version, event.balance_after) - refunded;
    answer.version := book_entry(
        account_user_id, 'refund', answer.amount, answer.recorded_at, entry_event_id => refunded_event_id,
        entry_reason => refund_reason, entry_actor => acting
    );
    PERFORM give_back(
        account_user_id, stretch_to - answer.amount, stretch_to, answer.version, answer.recorded_at, acting
    );
    PERFORM pay_debts(account_user_id);
    PERFORM set_next_boundary(account_user_id);
    PERFORM change_usage(event, 0, 0, 0, answer.amount);
    PERFORM audit(
        acting, 'refund', account_user_id,
        asked || jsonb_build_object('amount', answer.amount, 'reason', refund_reason)
    );
    RETURN finish_operation(answer, account_user_id, key, 'refund', asked);
END
$$;

CREATE OR REPLACE FUNCTION refund_event(
    account_user_id bigint, key text, refunded_event_id bigint, refund_amount numeric, refund_reason text, acting text
) RETURNS credit_operation_answer
LANGUAGE sql
SET search_path FROM CURRENT
AS $$
    SELECT refund_event_at(NULL, account_user_id, key, refunded_event_id, refund_amount, refund_reason, acting)
$$;

-- Takes out an event that should not have been: it moves to voided_credit_usage_events, its credits go back, and no query
-- over usage sees it any more. Its key stays taken.
CREATE OR REPLACE FUNCTION void_event_at(
    at timestamptz, account_user_id bigint, key text, voided_event_id bigint, reason text, acting text
) RETURNS credit_operation_answer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    asked jsonb := jsonb_build_object('event_id', voided_event_id);
    answer credit_operation_answer := begin_operation(at, account_user_id, key, 'void', asked);
    event credit_usage_events;
    stretch_to numeric;
    new_balance numeric;
BEGIN
    IF answer.outcome IS NOT NULL THEN
        RETURN answer;
    END IF;
    SELECT * INTO event FROM credit_usage_events WHERE user_id = account_user_id AND id = voided_event_id;
    IF NOT FOUND THEN
        answer.outcome := CASE WHEN EXISTS (
            SELECT FROM voided_credit_usage_events WHERE user_id = account_user_id AND id = voided_event_id
        ) THEN 'event_voided' ELSE 'unknown_event' END;
        RETURN answer;
    END IF;
    IF EXISTS (
        SELECT FROM credit_ledger_entries AS entry
        WHERE entry.user_id = account_user_id AND entry.event_id = voided_event_id AND entry.kind = 'refund'
    ) THEN
        answer.outcome := 'event_refunded';
        RETURN answer;
    END IF;

    answer.outcome := 'voided';
    answer.event_id := voided_event_id;
    answer.amount := event.credits_charged;
    PERFORM allocate_consumption(account_user_id);
    stretch_to := end_of_event(account_user_id, event.version, event.balance_after);

    UPDATE user_credit_balances AS balance
    SET current_balance = trim_scale(balance.current_balance + event.credits_charged),
        total_consumed = trim_scale(balance.total_consumed - event.credits_charged),
        total_voided = trim_scale(balance.total_voided + event.credits_charged),
        current_month_consumed = trim_scale(
            balance.current_month_consumed
            - CASE WHEN event.recorded_at >= balance.period_start THEN event.credits_charged ELSE 0 END
        ),
        version = balance.version + 1,
        last_event_at = (
            SELECT max(remaining.created_at) FROM credit_usage_events AS remaining
            WHERE remaining.user_id = account_user_id AND remaining.id <> voided_event_id
        ),
        last_recorded_at = answer.recorded_at
    WHERE balance.user_id = account_user_id
    RETURNING balance.current_balance, balance.version INTO new_balance, answer.version;
    INSERT INTO voided_credit_usage_events (
        id, user_id, created_at, recorded_at, version, price_id,
        input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, occurred_at_given,
        action_type, credits_charged, api_cost, credits_per_dollar, multiplier, cost_source,
        balance_after, available_after, quantity, model_used, provider, idempotency_key,
        description, session_id, metadata, hold_id,
        voided_at, void_version, void_balance_after, void_reason, voided_by
    )
    VALUES (
        event.id, event.user_id, event.created_at, event.recorded_at, event.version, event.price_id,
        event.input_tokens, event.output_tokens, event.cache_read_tokens, event.cache_write_tokens,
        event.reasoning_tokens, event.occurred_at_given,
        event.action_type, event.credits_charged, event.api_cost, event.credits_per_dollar, event.multiplier,
        event.cost_source, event.balance_after, event.available_after, event.quantity, event.model_used,
        event.provider, event.idempotency_key, event.description, event.session_id, event.metadata, event.hold_id,
        answer.recorded_at, answer.version, new_balance, reason, acting
    );
    PERFORM set_config('groat.correcting', 'void', true),
        set_config('groat.correcting_user', account_user_id::text, true);
    DELETE FROM credit_usage_events WHERE user_id = account_user_id AND id = voided_event_id;
    PERFORM set_config('groat.correcting', '', true), set_config('groat.correcting_user', '', true);
    PERFORM take_usage(event);

    IF event.credits_charged > 0 THEN
        PERFORM give_back(
            account_user_id, stretch_to - event.credits_charged, stretch_to, answer.version, answer.recorded_at, acting
        );
    END IF;
    PERFORM pay_debts(account_user_id);
    PERFORM set_next_boundary(account_user_id);
    PERFORM audit(
        acting, 'void', account_user_id, asked || jsonb_build_object('amount', answer.amount, 'reason', reason)
    );
    RETURN finish_operation(answer, account_user_id, key, 'void', asked);
END
$$;

CREATE OR REPLACE FUNCTION void_event(
    account_user_id bigint, key text, voided_event_id bigint, reason text, acting text
) RETURNS credit_operation_answer
LANGUAGE sql
SET search_path FROM CURRENT
AS $$ SELECT void_event_at(NULL, account_user_id, key, voided_event_id, reason, acting) $$;
