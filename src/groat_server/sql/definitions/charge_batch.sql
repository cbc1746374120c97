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
--   * a charge that names a hold captures it, once; that hold is left out of what is held, and the use is booked in full;
--   * with `settled`, what a user is charged is given back at once by an adjustment: history that moves no balance;
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
    metadatas jsonb[],
    holds bigint[],
    settled boolean
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
    held numeric,
    version bigint,
    next_reset_at timestamptz,
    hold_exceeded boolean,
    late_capture boolean,
    voided boolean,
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
    current_book_version bigint;
    alert_below numeric[];
    -- A balance whose last booking lies after this (made by hand, or under a clock that was set back) is answered `busy`:
    -- it would draw the instant of everybody else in the batch after it.
    latest timestamptz := CASE WHEN at IS NULL THEN clock_timestamp() + interval '5 minutes' ELSE 'infinity' END;
    request record;
    -- the user at hand, as of the request at hand
    current_user_id bigint;
    running_balance numeric;
    running_version bigint;
    running_held numeric;
    accepted_keys text[];       -- keys of this user that stand more than once in the batch, and were booked
    accepted_ordinals bigint[];
    twin bigint;
    captured_ids bigint[];      -- holds of this user that the batch has captured
    -- one decision an input row
    outcomes text[] := array_fill(NULL::text, ARRAY[row_count]);
    event_ids bigint[] := array_fill(NULL::bigint, ARRAY[row_count]);
    balances numeric[] := array_fill(NULL::numeric, ARRAY[row_count]);
    availables numeric[] := array_fill(NULL::numeric, ARRAY[row_count]);
    helds numeric[] := array_fill(NULL::numeric, ARRAY[row_count]);
    versions bigint[] := array_fill(NULL::bigint, ARRAY[row_count]);
    has_captures boolean := false;
    booked integer := 0;
BEGIN
    PERFORM begin_booking();

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

    SELECT price_book.version, ledger_settings.alert_below INTO STRICT current_book_version, alert_below
    FROM price_book CROSS JOIN ledger_settings;
    IF current_book_version <> book_version OR booked_at < priced_from OR booked_at >= priced_until THEN
        RETURN QUERY
            SELECT o, 'stale_prices', NULL::bigint, NULL::timestamptz, NULL::numeric, NULL::numeric, NULL::numeric,
                NULL::numeric, NULL::text, NULL::bigint, NULL::numeric, NULL::numeric, NULL::numeric, NULL::bigint,
                NULL::timestamptz, NULL::boolean, NULL::boolean, NULL::boolean, booked_at
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
            users.id IS NULL OR users.anonymised_at IS NOT NULL AS is_unknown,
            users.demo_mode,
            account.user_id IS NULL AS is_busy,
            account.current_balance, account.overdraft_limit, account.version,
            -- What few charges need is looked up for those alone.
            CASE WHEN account.held_until > booked_at THEN (
                SELECT coalesce(trim_scale(sum(hold.amount)), 0) FROM credit_holds AS hold
                WHERE hold.user_id = r.user_id AND hold.state = 'open' AND hold.expires_at > booked_at
            ) ELSE 0 END AS held,
            r.hold,
            CASE WHEN r.hold IS NOT NULL THEN (
                SELECT hold.state FROM credit_holds AS hold WHERE hold.user_id = r.user_id AND hold.id = r.hold
            ) END AS hold_state,
            CASE WHEN r.hold IS NOT NULL THEN (
                SELECT coalesce(sum(hold.amount), 0) FROM credit_holds AS hold
                WHERE hold.user_id = r.user_id AND hold.id = r.hold
                    AND hold.state = 'open' AND hold.expires_at > booked_at
            ) ELSE 0 END AS hold_counts,
            CASE WHEN account.has_operations THEN EXISTS (
                SELECT FROM credit_operations AS other
                WHERE other.user_id = r.user_id AND other.idempotency_key = r.key
            ) ELSE false END AS is_other_verb,
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
                    IS NOT DISTINCT FROM r.occurred
                AND stored.hold_id IS NOT DISTINCT FROM r.hold AS same_content,
            CASE
                WHEN r.occurred > booked_at + interval '5 minutes' THEN 'occurred_in_future'
                WHEN NOT r.backfill AND r.occurred < booked_at - interval '35 days' THEN 'occurred_too_long_ago'
            END AS bad_time
        FROM unnest(
            user_ids, keys, actions, models, providers, inputs, outputs, cache_reads, cache_writes, reasonings,
            quantities, given_costs, occurred, enforced, backfills, refusals, credits, holds
        ) WITH ORDINALITY AS r(
            user_id, key, action, model, provider, input, output, cache_read, cache_write, reasoning,
            quantity, given_cost, occurred, enforced, backfill, refusal, credits, hold, ordinal
        )
        LEFT JOIN users ON users.id = r.user_id
        LEFT JOIN user_credit_balances AS account ON account.user_id = r.user_id AND account.user_id = ANY (locked_ids)
        -- Written as a range in the order of the unique index: on a table without statistics yet, a plain equality may
        -- be planned on (user_id, created_at) instead, and each probe would read all of the user's events.
        LEFT JOIN LATERAL (
            (
                SELECT event.id, event.action_type, event.model_used, event.provider, event.input_tokens,
                    event.output_tokens, event.cache_read_tokens, event.cache_write_tokens, event.reasoning_tokens,
                    event.quantity, event.cost_source, event.api_cost, event.occurred_at_given, event.created_at,
                    event.hold_id
                FROM credit_usage_events AS event
                WHERE event.user_id = r.user_id AND event.idempotency_key >= r.key AND event.idempotency_key <= r.key
                ORDER BY event.idempotency_key
                LIMIT 1
            )
            UNION ALL
            SELECT event.id, event.action_type, event.model_used, event.provider, event.input_tokens,
                event.output_tokens, event.cache_read_tokens, event.cache_write_tokens, event.reasoning_tokens,
                event.quantity, event.cost_source, event.api_cost, event.occurred_at_given, event.created_at,
                event.hold_id
            FROM voided_credit_usage_events AS event
            WHERE account.has_operations AND event.user_id = r.user_id AND event.idempotency_key = r.key
        ) AS stored ON true
        WINDOW same_key AS (PARTITION BY r.user_id, r.key)
        ORDER BY r.user_id, r.ordinal
    LOOP
        IF request.user_id IS DISTINCT FROM current_user_id THEN
            current_user_id := request.user_id;
            running_balance := request.current_balance;
            running_version := request.version;
            running_held := request.held;
            captured_ids := '{}';
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
            WHEN request.stored_id IS NOT NULL OR request.is_other_verb THEN 'idempotency_conflict'
            WHEN twin IS NOT NULL AND (
                actions[twin], models[twin], providers[twin], inputs[twin], outputs[twin], cache_reads[twin],
                cache_writes[twin], reasonings[twin], quantities[twin], given_costs[twin], occurred[twin], holds[twin]
            ) IS NOT DISTINCT FROM (
                actions[request.ordinal], models[request.ordinal], providers[request.ordinal],
                inputs[request.ordinal], outputs[request.ordinal], cache_reads[request.ordinal],
                cache_writes[request.ordinal], reasonings[request.ordinal], quantities[request.ordinal],
                given_costs[request.ordinal], occurred[request.ordinal], holds[request.ordinal]
            ) THEN 'replayed'
            WHEN twin IS NOT NULL THEN 'idempotency_conflict'
            WHEN request.hold IS NOT NULL AND request.hold_state IS NULL THEN 'unknown_hold'
            WHEN request.hold_state = 'captured' OR request.hold = ANY (captured_ids) THEN 'hold_captured'
            WHEN request.refusal IS NOT NULL THEN request.refusal
            WHEN request.bad_time IS NOT NULL THEN request.bad_time
            WHEN request.enforced AND request.credits > 0
                AND request.credits
                    > running_balance + request.overdraft_limit - running_held + request.hold_counts
                THEN 'insufficient_credits'
            ELSE 'recorded'
        END;

        CASE outcomes[request.ordinal]
            WHEN 'recorded' THEN
                running_balance := trim_scale(running_balance - request.credits);
                running_version := running_version + 1;
                event_ids[request.ordinal] := nextval('credit_usage_events_id_seq');
                versions[request.ordinal] := running_version;
                booked := booked + 1;
                IF request.hold IS NOT NULL THEN
                    has_captures := true;
                    captured_ids := captured_ids || request.hold;
                    running_held := trim_scale(running_held - request.hold_counts);
                END IF;
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
        helds[request.ordinal] := running_held;
        availables[request.ordinal] := trim_scale(running_balance + request.overdraft_limit - running_held);
    END LOOP;

    IF booked > 0 THEN
        IF settled THEN
            PERFORM allocate_consumption(id) FROM unnest(locked_ids) AS id;
        END IF;
        INSERT INTO credit_usage_events (
            id, user_id, created_at, recorded_at, version, price_id,
            input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, occurred_at_given,
            action_type, credits_charged, api_cost, credits_per_dollar, multiplier, cost_source,
            balance_after, available_after, quantity, model_used, provider, idempotency_key,
            description, session_id, metadata, hold_id
        )
        SELECT r.event_id, r.user_id, coalesce(r.occurred, booked_at), booked_at, r.version, r.price,
            r.input, r.output, r.cache_read, r.cache_write, r.reasoning, r.occurred IS NOT NULL,
            r.action, r.credits, r.cost, r.rate, r.multiplier, r.source,
            r.balance, r.available, r.quantity, r.model, r.provider, r.key,
            r.description, r.session, r.metadata, r.hold
        FROM unnest(
            event_ids, user_ids, occurred, versions, prices,
            inputs, outputs, cache_reads, cache_writes, reasonings,
            actions, credits, costs, rates, multipliers, sources,
            balances, availables, quantities, models, providers, keys,
            descriptions, sessions, metadatas, holds, outcomes
        ) AS r(
            event_id, user_id, occurred, version, price,
            input, output, cache_read, cache_write, reasoning,
            action, credits, cost, rate, multiplier, source,
            balance, available, quantity, model, provider, key,
            description, session, metadata, hold, outcome
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

        IF alert_below <> '{}' AND NOT settled THEN
            INSERT INTO credit_alerts (user_id, threshold, balance_before, balance_after, version, recorded_at)
            SELECT account.user_id, threshold, trim_scale(account.current_balance + spent.credits),
                account.current_balance, account.version, booked_at
            FROM (
                SELECT r.user_id, sum(r.credits) AS credits
                FROM unnest(user_ids, credits, outcomes) AS r(user_id, credits, outcome)
                WHERE r.outcome = 'recorded'
                GROUP BY r.user_id
            ) AS spent
            JOIN user_credit_balances AS account ON account.user_id = spent.user_id
            CROSS JOIN unnest(alert_below) AS threshold
            WHERE account.current_balance <= threshold AND account.current_balance + spent.credits > threshold;
        END IF;

        IF has_captures THEN
            UPDATE credit_holds AS hold
            SET state = 'captured', captured_at = booked_at, event_id = r.event_id
            FROM unnest(user_ids, holds, event_ids, outcomes) AS r(user_id, hold_id, event_id, outcome)
            WHERE r.outcome = 'recorded' AND hold.user_id = r.user_id AND hold.id = r.hold_id;
        END IF;
        IF settled THEN
            PERFORM settle_charges(spent.user_id, spent.credits, booked_at)
            FROM (
                SELECT r.user_id, sum(r.credits) AS credits
                FROM unnest(user_ids, credits, outcomes) AS r(user_id, credits, outcome)
                WHERE r.outcome = 'recorded'
                GROUP BY r.user_id
            ) AS spent
            WHERE spent.credits > 0;
        END IF;
    END IF;

    RETURN QUERY
        SELECT d.ordinal, d.outcome, event.id, event.created_at, event.credits_charged, event.api_cost,
            event.credits_per_dollar, event.multiplier, event.cost_source, event.price_id,
            coalesce(event.balance_after, d.balance), coalesce(event.available_after, d.available), d.held,
            event.version, account.next_reset_at, event.credits_charged > hold.amount,
            hold.captured_at >= hold.expires_at OR hold.released_at IS NOT NULL, event.voided, booked_at
        FROM unnest(outcomes, user_ids, event_ids, balances, availables, helds) WITH ORDINALITY
            AS d(outcome, user_id, event_id, balance, available, held, ordinal)
        LEFT JOIN user_credit_balances AS account ON account.user_id = d.user_id
        -- A range in the order of the primary key, for the same reason as above. Sorting is off, so that no other index
        -- will do: (user_id, created_at) looks cheaper while its entries of one batch are still equal.
        LEFT JOIN LATERAL (
            (
                SELECT stored.id, stored.created_at, stored.credits_charged, stored.api_cost,
                    stored.credits_per_dollar, stored.multiplier, stored.cost_source, stored.price_id,
                    stored.balance_after, stored.available_after, stored.version, stored.hold_id, false AS voided
                FROM credit_usage_events AS stored
                WHERE stored.user_id = d.user_id AND stored.id >= d.event_id AND stored.id <= d.event_id
                ORDER BY stored.id
                LIMIT 1
            )
            UNION ALL
            SELECT stored.id, stored.created_at, stored.credits_charged, stored.api_cost,
                stored.credits_per_dollar, stored.multiplier, stored.cost_source, stored.price_id,
                stored.balance_after, stored.available_after, stored.version, stored.hold_id, true
            FROM voided_credit_usage_events AS stored
            WHERE account.has_operations AND stored.user_id = d.user_id AND stored.id = d.event_id
        ) AS event ON true
        LEFT JOIN LATERAL (
            SELECT * FROM credit_holds AS own
            WHERE event.hold_id IS NOT NULL AND own.user_id = d.user_id AND own.id = event.hold_id
        ) AS hold ON true
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
    metadatas jsonb[],
    holds bigint[],
    settled boolean
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
    held numeric,
    version bigint,
    next_reset_at timestamptz,
    hold_exceeded boolean,
    late_capture boolean,
    voided boolean,
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
        metadatas, holds, settled
    )
$$;
