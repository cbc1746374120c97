-- The statements one by one, in one transaction and one round trip.
\set user random(:first, :last)
\startpipeline
BEGIN;
UPDATE user_credit_balances
SET current_balance = trim_scale(current_balance - 0.105),
    current_month_consumed = trim_scale(current_month_consumed + 0.105),
    total_consumed = trim_scale(total_consumed + 0.105),
    version = version + 1, last_event_at = now(), last_recorded_at = now()
WHERE user_id = :user;
INSERT INTO credit_usage_events (
    user_id, created_at, recorded_at, version, input_tokens, output_tokens, occurred_at_given, action_type,
    credits_charged, api_cost, credits_per_dollar, multiplier, cost_source, balance_after, available_after, model_used,
    idempotency_key
)
SELECT user_id, now(), now(), version, 1000, 500, false, 'ai_chat_message',
    0.105, 0.0105, 10, 1, 'model', current_balance, current_balance, 'claude-3-5-sonnet', gen_random_uuid()::text
FROM user_credit_balances WHERE user_id = :user;
COMMIT;
\endpipeline
