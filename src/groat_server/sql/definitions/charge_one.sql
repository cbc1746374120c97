-- A charge alone, the fast way: what is usual is decided and written by three plain statements, in a third of the time
-- that charge_batch needs for a batch of one. Anything else (a repeat, a refusal, a hold, a boundary or a day that turns, a
-- time of its own, alerts) is charge_batch's, under the lock that is held already.
CREATE OR REPLACE FUNCTION charge_one_at(
    at timestamptz,
    route bigint,
    book_version bigint,
    priced_from timestamptz,
    priced_until timestamptz,
    skip_locked boolean,
    charged_user_id bigint,
    key text,
    action text,
    model text,
    provider_given text,
    input integer,
    output integer,
    cache_read integer,
    cache_write integer,
    reasoning integer,
    quantity_given numeric,
    given_cost numeric,
    occurred timestamptz,
    enforced boolean,
    backfill boolean,
    refusal text,
    cost numeric,
    rate numeric,
    multiplier_given numeric,
    credits numeric,
    source text,
    price bigint,
    description_given text,
    session text,
    metadata_given jsonb,
    hold bigint
) RETURNS SETOF charge_answer
LANGUAGE plpgsql
SET search_path FROM CURRENT
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
#variable_conflict use_variable
DECLARE
    account user_credit_balances;
    answer charge_answer;
    booked_day date;
    writer smallint := pg_backend_pid() % 16;
BEGIN
    -- Asked here as well, because to call a function takes longer than to ask.
    IF current_setting('transaction_isolation') <> 'read committed' OR current_setting('synchronous_commit') <> 'on' THEN
        PERFORM begin_booking();
    END IF;
    IF skip_locked THEN
        SELECT * INTO account FROM user_credit_balances
        WHERE user_id = charged_user_id FOR NO KEY UPDATE SKIP LOCKED;
    ELSE
        SELECT * INTO account FROM user_credit_balances WHERE user_id = charged_user_id FOR NO KEY UPDATE;
    END IF;
    answer.instant := greatest(coalesce(at, clock_timestamp()), account.last_recorded_at);
    booked_day := answer.instant AT TIME ZONE 'UTC';

    IF account.next_boundary_at > answer.instant AND account.open_day = booked_day AND hold IS NULL
        AND refusal IS NULL AND occurred IS NULL AND (account.held_until <= answer.instant) IS NOT FALSE
        AND (enforced AND credits > account.current_balance + account.overdraft_limit) IS NOT TRUE
        AND (at IS NOT NULL OR account.last_recorded_at <= clock_timestamp() + interval '5 minutes')
        AND (answer.instant >= priced_from) IS NOT FALSE AND (answer.instant < priced_until) IS NOT FALSE
    THEN
        IF EXISTS (
            SELECT FROM price_book CROSS JOIN ledger_settings
            WHERE version = book_version AND alert_below = '{}'
                AND NOT EXISTS (
                    SELECT FROM credit_usage_events AS known
                    WHERE known.user_id = charged_user_id AND known.idempotency_key = key
                )
                AND NOT (account.has_operations AND (
                    EXISTS (
                        SELECT FROM credit_operations AS other
                        WHERE other.user_id = charged_user_id AND other.idempotency_key = key
                    ) OR EXISTS (
                        SELECT FROM voided_credit_usage_events AS voided
                        WHERE voided.user_id = charged_user_id AND voided.idempotency_key = key
                    ) OR EXISTS (
                        SELECT FROM users WHERE id = charged_user_id AND anonymised_at IS NOT NULL
                    )
                ))
        ) THEN
            answer := ROW(
                1, 'recorded', nextval('credit_usage_events_id_seq'), answer.instant, credits, cost, rate,
                multiplier_given, source, price, trim_scale(account.current_balance - credits),
                trim_scale(account.current_balance - credits + account.overdraft_limit), 0, account.version + 1,
                NULL, NULL, NULL, false, answer.instant
            );
            WITH event AS (
                INSERT INTO credit_usage_events (
                    id, user_id, created_at, recorded_at, version, price_id,
                    input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens,
                    occurred_at_given, action_type, credits_charged, api_cost, credits_per_dollar, multiplier,
                    cost_source, balance_after, available_after, quantity, model_used, provider, idempotency_key,
                    description, session_id, metadata
                )
                VALUES (
                    answer.event_id, charged_user_id, answer.instant, answer.instant, answer.version, price,
                    input, output, coalesce(cache_read, 0), coalesce(cache_write, 0), coalesce(reasoning, 0),
                    false, action, credits, cost, rate, multiplier_given,
                    source, answer.balance, answer.available, quantity_given, model, provider_given, key,
                    description_given, session, metadata_given
                )
            )
            UPDATE user_credit_balances
            SET current_balance = answer.balance,
                current_month_consumed = trim_scale(account.current_month_consumed + credits),
                total_consumed = trim_scale(account.total_consumed + credits),
                version = answer.version,
                last_event_at = greatest(account.last_event_at, answer.instant),
                last_recorded_at = answer.instant,
                open_events = account.open_events + 1,
                open_credits = trim_scale(account.open_credits + credits),
                open_api_cost = trim_scale(account.open_api_cost + coalesce(cost, 0))
            WHERE user_id = charged_user_id;
            -- roll-ups:begin
            WITH hourly AS (
                INSERT INTO usage_hourly AS rolled (hour, action_type, model_used, slot, events, credits, api_cost)
                VALUES (
                    date_trunc('hour', answer.instant, 'UTC'), action, model, writer, 1, credits, coalesce(cost, 0)
                )
                ON CONFLICT (hour, action_type, model_used, slot) DO UPDATE
                SET events = rolled.events + 1,
                    credits = trim_scale(rolled.credits + excluded.credits),
                    api_cost = trim_scale(rolled.api_cost + excluded.api_cost)
            )
            INSERT INTO usage_daily AS rolled (day, action_type, model_used, slot, events, credits, api_cost)
            VALUES (booked_day, action, model, writer, 1, credits, coalesce(cost, 0))
            ON CONFLICT (day, action_type, model_used, slot) DO UPDATE
            SET events = rolled.events + 1,
                credits = trim_scale(rolled.credits + excluded.credits),
                api_cost = trim_scale(rolled.api_cost + excluded.api_cost);
            -- roll-ups:end
            RETURN NEXT answer;
            RETURN;
        END IF;
    END IF;

    RETURN QUERY
        SELECT * FROM charge_batch_at(
            at, route, book_version, priced_from, priced_until, skip_locked, ARRAY[charged_user_id], ARRAY[key],
            ARRAY[action], ARRAY[model], ARRAY[provider_given], ARRAY[input], ARRAY[output], ARRAY[cache_read],
            ARRAY[cache_write], ARRAY[reasoning], ARRAY[quantity_given], ARRAY[given_cost],
            CASE WHEN occurred IS NOT NULL THEN ARRAY[occurred] END, ARRAY[enforced], ARRAY[backfill],
            ARRAY[refusal], ARRAY[cost], ARRAY[rate], ARRAY[multiplier_given], ARRAY[credits], ARRAY[source],
            ARRAY[price], ARRAY[description_given], ARRAY[session], ARRAY[metadata_given],
            CASE WHEN hold IS NOT NULL THEN ARRAY[hold] END, false
        );
END
$$;

-- The same with the database's own clock: the only one a service may call.
CREATE OR REPLACE FUNCTION charge_one(
    route bigint,
    book_version bigint,
    priced_from timestamptz,
    priced_until timestamptz,
    skip_locked boolean,
    charged_user_id bigint,
    key text,
    action text,
    model text,
    provider_given text,
    input integer,
    output integer,
    cache_read integer,
    cache_write integer,
    reasoning integer,
    quantity_given numeric,
    given_cost numeric,
    occurred timestamptz,
    enforced boolean,
    backfill boolean,
    refusal text,
    cost numeric,
    rate numeric,
    multiplier_given numeric,
    credits numeric,
    source text,
    price bigint,
    description_given text,
    session text,
    metadata_given jsonb,
    hold bigint
) RETURNS SETOF charge_answer
LANGUAGE sql
SET search_path FROM CURRENT
AS $$
    SELECT * FROM charge_one_at(
        NULL, route, book_version, priced_from, priced_until, skip_locked, charged_user_id, key, action, model,
        provider_given, input, output, cache_read, cache_write, reasoning, quantity_given, given_cost, occurred,
        enforced, backfill, refusal, cost, rate, multiplier_given, credits, source, price, description_given, session,
        metadata_given, hold
    )
$$;
