-- The only way a charge is written: single, batch, import and sample data all call charge_batch.
--
-- In:  arrays of one length, one element a charge, in input order; priced by the caller under `book_version`, for any
--      instant in [priced_from, priced_until) (null: unbounded) where the charge does not say when it happened.
--      `refusals` holds the outcome of a charge that cannot be priced; a repeat of an old key is answered all the same.
-- Out: one row an input row, in order, with its outcome (docs/outcomes.md). Events come back from their stored columns, so
--      that a repeat cannot differ from the first answer.
--
-- What it keeps:
--   * balances are locked in user_id order, once, before anything is read; with `skip_locked` those somebody else holds
--     are answered `busy` and all others proceed;
--   * one instant a call, read under the locks and never below a locked row's last booking; due resets come first;
--   * each key has one effect for ever; within a batch too;
--   * per user, in input order, an enforced charge is refused iff it exceeds what is available then, and costs nothing;
--   * it relies on row locks and fresh snapshots a statement: READ COMMITTED, and it refuses to run otherwise.
CREATE OR REPLACE FUNCTION charge_batch_at(
    at timestamptz,
    route bigint,
    book_version bigint,
    priced_from timestamptz,
    priced_until timestamptz,
    skip_locked boolean,
    user_ids bigint[],
    keys text[],
    actions text[],
    models text[],
    providers text[],
    inputs integer[],
    outputs integer[],
    cache_reads integer[],
    cache_writes integer[],
    reasonings integer[],
    quantities numeric[],
    given_costs numeric[],
    occurred timestamptz[],
    enforced boolean[],
    backfills boolean[],
    refusals text[],
    costs numeric[],
    rates numeric[],
    multipliers numeric[],
    credits numeric[],
    sources text[],
    prices bigint[],
    descriptions text[],
    sessions text[],
    metadatas jsonb[]
) RETURNS TABLE (
    ordinal bigint,
    outcome text,
    event_id bigint,
    created_at timestamptz,
    credits_charged numeric,
    api_cost numeric,
    credits_per_dollar numeric,
    multiplier numeric,
    cost_source text,
    price_id bigint,
    balance numeric,
    available numeric,
    version bigint,
    next_reset_at timestamptz,
    instant timestamptz
)
LANGUAGE plpgsql
SET search_path FROM CURRENT
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_mergejoin = off
SET enable_hashjoin = off
SET enable_sort = off
SET jit = off
SET lock_timeout = '2s'
AS $$
#variable_conflict use_column
DECLARE
    row_count integer := cardinality(user_ids);
    locked_ids bigint[];
    due_ids bigint[];
    last_booking timestamptz;
    booked_at timestamptz;
    -- A balance whose last booking lies after this (made by hand, or under a clock that was set back) is answered `busy`:
    -- it would draw the instant of everybody else in the batch after it.
    latest timestamptz := CASE WHEN at IS NULL THEN clock_timestamp() + interval '5 minutes' ELSE 'infinity' END;
    request record;
    -- the user at hand, as of the request at hand
    current_user_id bigint;
    running_balance numeric;
    running_version bigint;
    accepted_keys text[];       -- keys of this user that stand more than once in the batch, and were booked
    accepted_ordinals bigint[];
    twin bigint;
    -- one decision an input row
    outcomes text[] := array_fill(NULL::text, ARRAY[row_count]);
    event_ids bigint[] := array_fill(NULL::bigint, ARRAY[row_count]);
    balances numeric[] := array_fill(NULL::numeric, ARRAY[row_count]);
    availables numeric[] := array_fill(NULL::numeric, ARRAY[row_count]);
    versions bigint[] := array_fill(NULL::bigint, ARRAY[row_count]);
    booked integer := 0;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'charge_batch runs under READ COMMITTED, not %', current_setting('transaction_isolation')
            USING ERRCODE = 'GR004';
    END IF;
    IF current_setting('synchronous_commit') NOT IN ('on', 'remote_apply') THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;

    -- Every writer takes balance rows in user_id order: no deadlocks.
    IF skip_locked THEN
        SELECT array_agg(user_id) FILTER (WHERE last_recorded_at <= latest),
            max(last_recorded_at) FILTER (WHERE last_recorded_at <= latest) INTO locked_ids, last_booking
        FROM (
            SELECT user_id, last_recorded_at FROM user_credit_balances
            WHERE user_id = ANY (user_ids) ORDER BY user_id FOR NO KEY UPDATE SKIP LOCKED
        ) AS locked;
    ELSE
        SELECT array_agg(user_id) FILTER (WHERE last_recorded_at <= latest),
            max(last_recorded_at) FILTER (WHERE last_recorded_at <= latest) INTO locked_ids, last_booking
        FROM (
            SELECT user_id, last_recorded_at FROM user_credit_balances
            WHERE user_id = ANY (user_ids) ORDER BY user_id FOR NO KEY UPDATE
        ) AS locked;
    END IF;
    booked_at := greatest(coalesce(at, clock_timestamp()), last_booking);

    IF (SELECT version FROM price_book) <> book_version OR booked_at < priced_from OR booked_at >= priced_until THEN
        RETURN QUERY
            SELECT o, 'stale_prices', NULL::bigint, NULL::timestamptz, NULL::numeric, NULL::numeric, NULL::numeric,
                NULL::numeric, NULL::text, NULL::bigint, NULL::numeric, NULL::numeric, NULL::bigint,
                NULL::timestamptz, booked_at
            FROM generate_series(1::bigint, row_count) AS o;
        RETURN;
    END IF;

    SELECT array_agg(user_id) INTO due_ids
    FROM user_credit_balances WHERE user_id = ANY (locked_ids) AND next_boundary_at <= booked_at;
    IF due_ids IS NOT NULL THEN
        PERFORM roll_forward(due_ids, booked_at);
    END IF;

    FOR request IN
        SELECT r.ordinal, r.user_id, r.key, r.refusal, r.enforced, r.credits, r.occurred,
            count(*) OVER same_key > 1 AS has_twins,
            users.id IS NULL AS is_unknown,
            users.demo_mode,
            account.user_id IS NULL AS is_busy,
            account.current_balance, account.overdraft_limit, account.version,
            stored.id AS stored_id,
            stored.action_type = r.action
                AND stored.model_used IS NOT DISTINCT FROM r.model
                AND stored.provider IS NOT DISTINCT FROM r.provider
                AND stored.input_tokens = r.input AND stored.output_tokens = r.output
                AND stored.cache_read_tokens = r.cache_read AND stored.cache_write_tokens = r.cache_write
                AND stored.reasoning_tokens = r.reasoning
                AND stored.quantity IS NOT DISTINCT FROM r.quantity
                AND CASE WHEN stored.cost_source IN ('caller', 'action') THEN stored.api_cost END
                    IS NOT DISTINCT FROM r.given_cost
                AND CASE WHEN stored.occurred_at_given THEN stored.created_at END
                    IS NOT DISTINCT FROM r.occurred AS same_content,
            CASE
                WHEN r.occurred > booked_at + interval '5 minutes' THEN 'occurred_in_future'
                WHEN NOT r.backfill AND r.occurred < booked_at - interval '35 days' THEN 'occurred_too_long_ago'
            END AS bad_time
        FROM unnest(
            user_ids, keys, actions, models, providers, inputs, outputs, cache_reads, cache_writes, reasonings,
            quantities, given_costs, occurred, enforced, backfills, refusals, credits
        ) WITH ORDINALITY AS r(
            user_id, key, action, model, provider, input, output, cache_read, cache_write, reasoning,
            quantity, given_cost, occurred, enforced, backfill, refusal, credits, ordinal
        )
        LEFT JOIN users ON users.id = r.user_id
        LEFT JOIN user_credit_balances AS account ON account.user_id = r.user_id AND account.user_id = ANY (locked_ids)
        -- Written as a range in the order of the unique index: on a table without statistics yet, a plain equality may
        -- be planned on (user_id, created_at) instead, and each probe would read all of the user's events.
        LEFT JOIN LATERAL (
            SELECT * FROM credit_usage_events AS event
            WHERE event.user_id = r.user_id AND event.idempotency_key >= r.key AND event.idempotency_key <= r.key
            ORDER BY event.idempotency_key
            LIMIT 1
        ) AS stored ON true
        WINDOW same_key AS (PARTITION BY r.user_id, r.key)
        ORDER BY r.user_id, r.ordinal
    LOOP
        IF request.user_id IS DISTINCT FROM current_user_id THEN
            current_user_id := request.user_id;
            running_balance := request.current_balance;
            running_version := request.version;
            accepted_keys := '{}';
            accepted_ordinals := '{}';
        END IF;
        twin := NULL;
        IF request.has_twins THEN
            twin := accepted_ordinals[array_position(accepted_keys, request.key)];
        END IF;

        outcomes[request.ordinal] := CASE
            WHEN request.is_unknown THEN 'unknown_user'
            WHEN request.demo_mode THEN 'untracked'
            WHEN request.is_busy THEN 'busy'
            WHEN request.stored_id IS NOT NULL AND request.same_content THEN 'replayed'
            WHEN request.stored_id IS NOT NULL THEN 'idempotency_conflict'
            WHEN twin IS NOT NULL AND (
                actions[twin], models[twin], providers[twin], inputs[twin], outputs[twin], cache_reads[twin],
                cache_writes[twin], reasonings[twin], quantities[twin], given_costs[twin], occurred[twin]
            ) IS NOT DISTINCT FROM (
                actions[request.ordinal], models[request.ordinal], providers[request.ordinal],
                inputs[request.ordinal], outputs[request.ordinal], cache_reads[request.ordinal],
                cache_writes[request.ordinal], reasonings[request.ordinal], quantities[request.ordinal],
                given_costs[request.ordinal], occurred[request.ordinal]
            ) THEN 'replayed'
            WHEN twin IS NOT NULL THEN 'idempotency_conflict'
            WHEN request.refusal IS NOT NULL THEN request.refusal
            WHEN request.bad_time IS NOT NULL THEN request.bad_time
            WHEN request.enforced AND request.credits > 0
                AND request.credits > running_balance + request.overdraft_limit THEN 'insufficient_credits'
            ELSE 'recorded'
        END;

        CASE outcomes[request.ordinal]
            WHEN 'recorded' THEN
                running_balance := trim_scale(running_balance - request.credits);
                running_version := running_version + 1;
                event_ids[request.ordinal] := nextval('credit_usage_events_id_seq');
                versions[request.ordinal] := running_version;
                booked := booked + 1;
                IF request.has_twins THEN
                    accepted_keys := accepted_keys || request.key;
                    accepted_ordinals := accepted_ordinals || request.ordinal;
                END IF;
            WHEN 'replayed' THEN
                event_ids[request.ordinal] := coalesce(request.stored_id, event_ids[twin]);
            ELSE
                NULL;
        END CASE;
        balances[request.ordinal] := running_balance;
        availables[request.ordinal] := trim_scale(running_balance + request.overdraft_limit);
    END LOOP;

    IF booked > 0 THEN
        INSERT INTO credit_usage_events (
            id, user_id, created_at, recorded_at, version, price_id,
            input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, occurred_at_given,
            action_type, credits_charged, api_cost, credits_per_dollar, multiplier, cost_source,
            balance_after, available_after, quantity, model_used, provider, idempotency_key,
            description, session_id, metadata
        )
        SELECT r.event_id, r.user_id, coalesce(r.occurred, booked_at), booked_at, r.version, r.price,
            r.input, r.output, r.cache_read, r.cache_write, r.reasoning, r.occurred IS NOT NULL,
            r.action, r.credits, r.cost, r.rate, r.multiplier, r.source,
            r.balance, r.available, r.quantity, r.model, r.provider, r.key,
            r.description, r.session, r.metadata
        FROM unnest(
            event_ids, user_ids, occurred, versions, prices,
            inputs, outputs, cache_reads, cache_writes, reasonings,
            actions, credits, costs, rates, multipliers, sources,
            balances, availables, quantities, models, providers, keys,
            descriptions, sessions, metadatas, outcomes
        ) AS r(
            event_id, user_id, occurred, version, price,
            input, output, cache_read, cache_write, reasoning,
            action, credits, cost, rate, multiplier, source,
            balance, available, quantity, model, provider, key,
            description, session, metadata, outcome
        )
        WHERE r.outcome = 'recorded';

        -- One row a user: an UPDATE … FROM applies a single match to each row.
        UPDATE user_credit_balances AS account
        SET current_balance = trim_scale(account.current_balance - spent.credits),
            current_month_consumed = trim_scale(account.current_month_consumed + spent.credits),
            total_consumed = trim_scale(account.total_consumed + spent.credits),
            version = account.version + spent.events,
            last_event_at = greatest(account.last_event_at, spent.last_event_at),
            last_recorded_at = booked_at
        FROM (
            SELECT r.user_id, sum(r.credits) AS credits, count(*) AS events,
                max(coalesce(r.occurred, booked_at)) AS last_event_at
            FROM unnest(user_ids, credits, occurred, outcomes) AS r(user_id, credits, occurred, outcome)
            WHERE r.outcome = 'recorded'
            GROUP BY r.user_id
        ) AS spent
        WHERE account.user_id = spent.user_id;
    END IF;

    RETURN QUERY
        SELECT d.ordinal, d.outcome, event.id, event.created_at, event.credits_charged, event.api_cost,
            event.credits_per_dollar, event.multiplier, event.cost_source, event.price_id,
            coalesce(event.balance_after, d.balance), coalesce(event.available_after, d.available), event.version,
            account.next_reset_at, booked_at
        FROM unnest(outcomes, user_ids, event_ids, balances, availables) WITH ORDINALITY
            AS d(outcome, user_id, event_id, balance, available, ordinal)
        -- A range in the order of the primary key, for the same reason as above. Sorting is off, so that no other index
        -- will do: (user_id, created_at) looks cheaper while its entries of one batch are still equal.
        LEFT JOIN LATERAL (
            SELECT * FROM credit_usage_events AS stored
            WHERE stored.user_id = d.user_id AND stored.id >= d.event_id AND stored.id <= d.event_id
            ORDER BY stored.id
            LIMIT 1
        ) AS event ON true
        LEFT JOIN user_credit_balances AS account ON account.user_id = d.user_id
        ORDER BY d.ordinal;
END
$$;

-- The same with the database's own clock: the only one a service may call.
CREATE OR REPLACE FUNCTION charge_batch(
    route bigint,
    book_version bigint,
    priced_from timestamptz,
    priced_until timestamptz,
    skip_locked boolean,
    user_ids bigint[],
    keys text[],
    actions text[],
    models text[],
    providers text[],
    inputs integer[],
    outputs integer[],
    cache_reads integer[],
    cache_writes integer[],
    reasonings integer[],
    quantities numeric[],
    given_costs numeric[],
    occurred timestamptz[],
    enforced boolean[],
    backfills boolean[],
    refusals text[],
    costs numeric[],
    rates numeric[],
    multipliers numeric[],
    credits numeric[],
    sources text[],
    prices bigint[],
    descriptions text[],
    sessions text[],
    metadatas jsonb[]
) RETURNS TABLE (
    ordinal bigint,
    outcome text,
    event_id bigint,
    created_at timestamptz,
    credits_charged numeric,
    api_cost numeric,
    credits_per_dollar numeric,
    multiplier numeric,
    cost_source text,
    price_id bigint,
    balance numeric,
    available numeric,
    version bigint,
    next_reset_at timestamptz,
    instant timestamptz
)
LANGUAGE sql
SET search_path FROM CURRENT
AS $$
    SELECT * FROM charge_batch_at(
        NULL,
        route, book_version, priced_from, priced_until, skip_locked, user_ids, keys, actions, models, providers,
        inputs, outputs, cache_reads, cache_writes, reasonings, quantities, given_costs, occurred, enforced,
        backfills, refusals, costs, rates, multipliers, credits, sources, prices, descriptions, sessions,
        metadatas
    )
$$;
