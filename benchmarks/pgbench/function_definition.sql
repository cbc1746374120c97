CREATE OR REPLACE FUNCTION bench_charge(
    charged_user bigint, action text, model text, inputs integer, outputs integer, credits numeric, cost numeric,
    key text
) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
    WITH spent AS (
        UPDATE user_credit_balances
        SET current_balance = trim_scale(current_balance - credits),
            current_month_consumed = trim_scale(current_month_consumed + credits),
            total_consumed = trim_scale(total_consumed + credits),
            version = version + 1, last_event_at = now(), last_recorded_at = now()
        WHERE user_id = charged_user
        RETURNING user_id, version, current_balance
    )
    INSERT INTO credit_usage_events (
        user_id, created_at, recorded_at, version, input_tokens, output_tokens, occurred_at_given, action_type,
        credits_charged, api_cost, credits_per_dollar, multiplier, cost_source, balance_after, available_after,
        model_used, idempotency_key
    )
    SELECT user_id, now(), now(), version, inputs, outputs, false, action, credits, cost, 10, 1, 'model',
        current_balance, current_balance, model, key
    FROM spent;
END;
