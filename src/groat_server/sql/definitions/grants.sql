-- Giving credits: grants, adjustments, and the terms of a balance. Refusals are outcomes, never errors.

-- Grants credits that were bought or are given away. With `starting` in the future they come at that instant.
CREATE OR REPLACE FUNCTION grant_credits_at(
    at timestamptz, account_user_id bigint, key text, grant_kind text, grant_amount numeric, grant_priority integer,
    grant_cost_basis numeric, starting timestamptz, expiring timestamptz, grant_reason text, acting text
) RETURNS credit_operation_answer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    asked jsonb := jsonb_strip_nulls(jsonb_build_object(
        'kind', grant_kind, 'amount', trim_scale(grant_amount), 'priority', grant_priority,
        'cost_basis', trim_scale(grant_cost_basis), 'starts_at', starting AT TIME ZONE 'UTC',
        'expires_at', expiring AT TIME ZONE 'UTC'
    ));
    answer credit_operation_answer := begin_operation(at, account_user_id, key, 'grant', asked);
BEGIN
    IF answer.outcome IS NOT NULL THEN
        RETURN answer;
    END IF;
    answer.starts_at := greatest(starting, answer.recorded_at);
    IF expiring <= answer.starts_at THEN
        answer.outcome := 'expires_too_early';
        RETURN answer;
    END IF;
    answer.kind := grant_kind;
    answer.amount := trim_scale(grant_amount);
    answer.priority := coalesce(grant_priority, CASE grant_kind WHEN 'promotion' THEN 20 ELSE 50 END);
    answer.cost_basis := trim_scale(grant_cost_basis);
    answer.expires_at := expiring;
    answer.outcome := CASE WHEN answer.starts_at > answer.recorded_at THEN 'scheduled' ELSE 'granted' END;
    PERFORM allocate_consumption(account_user_id);
    answer.lot_id := add_lot(
        account_user_id, grant_kind, grant_amount, answer.recorded_at, answer.priority, expiring, answer.starts_at,
        grant_cost_basis, NULL, grant_reason, acting
    );
    PERFORM pay_debts(account_user_id);
    PERFORM set_next_boundary(account_user_id);
    PERFORM audit(
        acting, 'grant', account_user_id,
        jsonb_build_object('lot_id', answer.lot_id, 'reason', grant_reason) || asked
    );
    RETURN finish_operation(answer, account_user_id, key, 'grant', asked);
END
$$;

CREATE OR REPLACE FUNCTION grant_credits(
    account_user_id bigint, key text, grant_kind text, grant_amount numeric, grant_priority integer,
    grant_cost_basis numeric, starting timestamptz, expiring timestamptz, grant_reason text, acting text
) RETURNS credit_operation_answer
LANGUAGE sql
SET search_path FROM CURRENT
AS $$
    SELECT grant_credits_at(
        NULL, account_user_id, key, grant_kind, grant_amount, grant_priority, grant_cost_basis, starting, expiring,
        grant_reason, acting
    )
$$;

-- Corrects a balance by hand. More credits are a lot of their own; fewer are drawn from the lots as a charge would be.
CREATE OR REPLACE FUNCTION adjust_credits_at(
    at timestamptz, account_user_id bigint, key text, adjustment numeric, expiring timestamptz, adjustment_reason text,
    acting text
) RETURNS credit_operation_answer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    asked jsonb := jsonb_strip_nulls(
        jsonb_build_object('amount', trim_scale(adjustment), 'expires_at', expiring AT TIME ZONE 'UTC')
    );
    answer credit_operation_answer := begin_operation(at, account_user_id, key, 'adjustment', asked);
BEGIN
    IF answer.outcome IS NOT NULL THEN
        RETURN answer;
    END IF;
    IF expiring <= answer.recorded_at THEN
        answer.outcome := 'expires_too_early';
        RETURN answer;
    END IF;
    answer.outcome := 'adjusted';
    answer.kind := 'adjustment';
    answer.amount := trim_scale(adjustment);
    PERFORM allocate_consumption(account_user_id);
    IF adjustment > 0 THEN
        answer.priority := 30;
        answer.starts_at := answer.recorded_at;
        answer.expires_at := expiring;
        answer.lot_id := add_lot(
            account_user_id, 'adjustment', adjustment, answer.recorded_at, 30, expiring,
            lot_reason => adjustment_reason, lot_actor => acting
        );
        PERFORM pay_debts(account_user_id);
    ELSE
        PERFORM book_entry(
            account_user_id, 'adjustment', adjustment, answer.recorded_at,
            entry_reason => adjustment_reason, entry_actor => acting
        );
        PERFORM allocate_consumption(account_user_id);
    END IF;
    PERFORM set_next_boundary(account_user_id);
    PERFORM audit(acting, 'adjustment', account_user_id, jsonb_build_object('reason', adjustment_reason) || asked);
    RETURN finish_operation(answer, account_user_id, key, 'adjustment', asked);
END
$$;

CREATE OR REPLACE FUNCTION adjust_credits(
    account_user_id bigint, key text, adjustment numeric, expiring timestamptz, adjustment_reason text, acting text
) RETURNS credit_operation_answer
LANGUAGE sql
SET search_path FROM CURRENT
AS $$ SELECT adjust_credits_at(NULL, account_user_id, key, adjustment, expiring, adjustment_reason, acting) $$;

-- Changes the terms of a balance; null leaves one as it is. A new allowance counts from the next period on; with
-- `grant_now`, what it exceeds the credits already granted as this period's allowance by is granted at once, under a key.
-- Nothing is ever clawed back.
CREATE OR REPLACE FUNCTION set_terms_at(
    at timestamptz, account_user_id bigint, key text, allowance numeric, grant_now boolean, overdraft numeric,
    rollover numeric, acting text
) RETURNS credit_operation_answer
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
#variable_conflict use_column
DECLARE
    asked jsonb := jsonb_strip_nulls(jsonb_build_object(
        'monthly_allowance', trim_scale(allowance), 'overdraft_limit', trim_scale(overdraft),
        'rollover_cap', trim_scale(rollover), 'grant_now', nullif(grant_now, false)
    ));
    answer credit_operation_answer := begin_operation(at, account_user_id, key, 'allowance', asked);
    terms user_credit_balances;
    granted numeric;
BEGIN
    IF answer.outcome IS NOT NULL THEN
        RETURN answer;
    END IF;
    answer.outcome := 'changed';
    UPDATE user_credit_balances
    SET monthly_allowance = coalesce(trim_scale(allowance), monthly_allowance),
        overdraft_limit = coalesce(trim_scale(overdraft), overdraft_limit),
        rollover_cap = coalesce(trim_scale(rollover), rollover_cap)
    WHERE user_id = account_user_id
    RETURNING * INTO terms;
    IF grant_now AND allowance IS NOT NULL THEN
        SELECT coalesce(sum(amount), 0) INTO granted
        FROM credit_ledger_entries
        WHERE user_id = account_user_id AND kind = 'allowance' AND recorded_at >= terms.period_start;
        IF allowance > granted THEN
            answer.kind := 'allowance';
            answer.amount := trim_scale(allowance - granted);
            answer.expires_at := terms.next_reset_at;
            PERFORM allocate_consumption(account_user_id);
            answer.lot_id := add_lot(
                account_user_id, 'allowance', allowance - granted, answer.recorded_at, 10, terms.next_reset_at,
                lot_reason => 'allowance raised', lot_actor => acting
            );
            PERFORM pay_debts(account_user_id);
            PERFORM set_next_boundary(account_user_id);
        END IF;
    END IF;
    PERFORM audit(acting, 'terms', account_user_id, asked);
    IF key IS NULL THEN
        RETURN with_balance(answer, account_user_id);
    END IF;
    RETURN finish_operation(answer, account_user_id, key, 'allowance', asked);
END
$$;

CREATE OR REPLACE FUNCTION set_terms(
    account_user_id bigint, key text, allowance numeric, grant_now boolean, overdraft numeric, rollover numeric,
    acting text
) RETURNS credit_operation_answer
LANGUAGE sql
SET search_path FROM CURRENT
AS $$ SELECT set_terms_at(NULL, account_user_id, key, allowance, grant_now, overdraft, rollover, acting) $$;
