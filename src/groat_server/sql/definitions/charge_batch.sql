-- The only way a charge is written: single, batch, capture, import and sample data all call it (charge_one is its short cut
-- for one).
--
-- In:  arrays, one element a charge, in input order; priced by the caller under `book_version`, for any instant in
--      [priced_from, priced_until) (null: unbounded) where the charge does not say when it happened. An array that would
--      hold nothing but nulls may be null itself; null tokens are 0. `refusals` holds the outcome of a charge that cannot
--      be priced; a repeat of an old key is answered all the same.
-- Out: one row an input row, in order, with its outcome (docs/outcomes.md). A repeat is answered from the event's stored
--      columns, so that it cannot differ from the first answer.
--
-- What it keeps:
--   * balances are locked in user_id order, once, before anything is read; with `skip_locked` those somebody else holds
--     are answered `busy` and all others proceed;
--   * one instant a call, read under the locks and never below a locked row's last booking; due resets come first;
--   * each key has one effect for ever; within a batch too;
--   * per user, in input order, an enforced charge is refused iff it exceeds what is available then, and costs nothing;
--   * a charge that names a hold captures it, once; that hold is left out of what is held, and the use is booked in full;
--   * with `settled`, what a user is charged is given back at once by an adjustment: history that moves no balance;
--   * the roll-ups are what the events add up to;
--   * it relies on row locks and fresh snapshots a statement: READ COMMITTED, and it refuses to run otherwise.
--
-- The SET clauses pin the plans: all that is read is found by an index, whatever the statistics say.
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
) RETURNS SETOF charge_answer
LANGUAGE plpgsql
SET search_path FROM CURRENT
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_mergejoin = off
SET enable_hashjoin = off
SET jit = off
SET lock_timeout = '2s'
AS $$
#variable_conflict use_column
DECLARE
    -- the locked balances: whose they are, in order, and what is the same for most of them
    locked_ids bigint[];
    last_booking timestamptz;
    first_boundary timestamptz;
    oldest_open_day date;
    newest_open_day date;
    booked_at timestamptz;
    booked_day date;
    booked_hour timestamptz;
    writer smallint := pg_backend_pid() % 16;
    current_book_version bigint;
    alert_below numeric[];
    -- A balance whose last booking lies after this (made by hand, or under a clock that was set back) is answered `busy`:
    -- it would draw the instant of everybody else in the batch after it.
    latest timestamptz := CASE WHEN at IS NULL THEN clock_timestamp() + interval '5 minutes' ELSE 'infinity' END;
    -- one decision an input row
    outcomes text[];
    event_ids bigint[];
    balances numeric[];
    availables numeric[];
    helds numeric[];
    versions bigint[];
    -- what has to be decided one after another, and the user at hand, as of the request at hand
    in_turn charge_in_turn[];
    request charge_in_turn;
    current_user_id bigint;
    running_balance numeric;
    running_version bigint;
    running_held numeric;
    accepted_keys text[];       -- keys of this user that stand more than once in the batch, and were booked
    accepted_ordinals bigint[];
    captured_ids bigint[];      -- holds of this user that the batch has captured
    twin bigint;
    late boolean[];
BEGIN
    -- Asked here as well, because to call a function takes longer than to ask.
    IF current_setting('transaction_isolation') <> 'read committed' OR current_setting('synchronous_commit') <> 'on' THEN
        PERFORM begin_booking();
    END IF;

    -- Every writer takes balance rows in user_id order: no deadlocks.
    IF skip_locked THEN
        SELECT array_agg(user_id), max(last_recorded_at), min(next_boundary_at), min(coalesce(open_day, '-infinity')),
            max(open_day)
        INTO locked_ids, last_booking, first_boundary, oldest_open_day, newest_open_day
        FROM (
            SELECT user_id, last_recorded_at, next_boundary_at, open_day FROM user_credit_balances
            WHERE user_id = ANY (user_ids) ORDER BY user_id FOR NO KEY UPDATE SKIP LOCKED
        ) AS locked
        WHERE last_recorded_at <= latest;
    ELSE
        SELECT array_agg(user_id), max(last_recorded_at), min(next_boundary_at), min(coalesce(open_day, '-infinity')),
            max(open_day)
        INTO locked_ids, last_booking, first_boundary, oldest_open_day, newest_open_day
        FROM (
            SELECT user_id, last_recorded_at, next_boundary_at, open_day FROM user_credit_balances
            WHERE user_id = ANY (user_ids) ORDER BY user_id FOR NO KEY UPDATE
        ) AS locked
        WHERE last_recorded_at <= latest;
    END IF;
    booked_at := greatest(coalesce(at, clock_timestamp()), last_booking);
    booked_day := booked_at AT TIME ZONE 'UTC';
    booked_hour := date_trunc('hour', booked_at, 'UTC');

    SELECT price_book.version, ledger_settings.alert_below INTO STRICT current_book_version, alert_below
    FROM price_book CROSS JOIN ledger_settings;
    IF current_book_version <> book_version OR booked_at < priced_from OR booked_at >= priced_until THEN
        RETURN QUERY
            SELECT (jsonb_populate_record(
                NULL::charge_answer,
                jsonb_build_object('ordinal', ordinal, 'outcome', 'stale_prices', 'instant', booked_at)
            )).*
            FROM generate_series(1, cardinality(user_ids)) AS ordinal;
        RETURN;
    END IF;

    IF first_boundary <= booked_at THEN
        PERFORM roll_forward(locked_ids, booked_at);
    END IF;

    -- Decides all charges at once, as if none of the candidates were refused. That is so for every user who has no repeat
    -- within the batch, captures no hold and can pay for whatever is enforced; the others' charges are decided in turn.
    SELECT
        array_agg(d.outcome),
        array_agg(CASE
            WHEN d.outcome = 'recorded' AND NOT d.is_in_turn THEN nextval('credit_usage_events_id_seq')
            WHEN d.outcome = 'replayed' THEN d.stored_id
        END),
        array_agg(trim_scale(d.current_balance - d.spent)),
        array_agg(trim_scale(d.current_balance - d.spent + d.overdraft_limit - d.held)),
        array_agg(d.held),
        array_agg(d.version + d.booked),
        array_agg(ROW(
            d.ordinal, d.user_id, d.outcome, d.stored_id, d.has_twins, d.hold_state, d.hold_counts,
            d.current_balance, d.overdraft_limit, d.held, d.version
        )::charge_in_turn) FILTER (WHERE d.is_in_turn)
    INTO outcomes, event_ids, balances, availables, helds, versions, in_turn
    FROM (
        SELECT s.*,
            coalesce(bool_or(
                s.has_twins OR s.hold IS NOT NULL OR s.outcome = 'voided'
                OR s.enforced AND s.credits > 0 AND s.current_balance + s.overdraft_limit - s.held < s.spent
            ) OVER (PARTITION BY s.user_id), false) AS is_in_turn
        FROM (
            SELECT c.*,
                coalesce(sum(c.credits) FILTER (WHERE c.outcome = 'recorded') OVER in_order, 0) AS spent,
                count(*) FILTER (WHERE c.outcome = 'recorded') OVER in_order AS booked
            FROM (
                SELECT r.ordinal, r.user_id, r.hold, r.enforced, r.credits, stored.id AS stored_id,
                    count(*) OVER (PARTITION BY r.user_id, r.key) > 1 AS has_twins,
                    account.current_balance, account.overdraft_limit, account.version,
                    -- What few charges need is looked up for those alone.
                    CASE WHEN account.held_until > booked_at THEN held_credits(r.user_id, booked_at) ELSE 0 END AS held,
                    CASE WHEN r.hold IS NOT NULL THEN (
                        SELECT own.state FROM credit_holds AS own WHERE own.user_id = r.user_id AND own.id = r.hold
                    ) END AS hold_state,
                    CASE WHEN r.hold IS NOT NULL THEN (
                        SELECT own.amount FROM credit_holds AS own
                        WHERE own.user_id = r.user_id AND own.id = r.hold
                            AND own.state = 'open' AND own.expires_at > booked_at
                    ) END AS hold_counts,
                    CASE
                        WHEN account.user_id IS NULL THEN coalesce((
                            SELECT CASE
                                WHEN users.anonymised_at IS NOT NULL THEN 'unknown_user'
                                WHEN users.demo_mode THEN 'untracked'
                                ELSE 'busy'
                            END
                            FROM users WHERE users.id = r.user_id
                        ), 'unknown_user')
                        WHEN account.has_operations AND (
                            SELECT users.anonymised_at IS NOT NULL FROM users WHERE users.id = r.user_id
                        ) THEN 'unknown_user'
                        WHEN stored.is_same_use THEN 'replayed'
                        WHEN stored.id IS NOT NULL THEN 'idempotency_conflict'
                        WHEN account.has_operations AND EXISTS (
                            SELECT FROM voided_credit_usage_events AS voided
                            WHERE voided.user_id = r.user_id AND voided.idempotency_key = r.key
                        ) THEN 'voided'
                        WHEN account.has_operations AND EXISTS (
                            SELECT FROM credit_operations AS other
                            WHERE other.user_id = r.user_id AND other.idempotency_key = r.key
                        ) THEN 'idempotency_conflict'
                        WHEN r.refusal IS NOT NULL THEN r.refusal
                        WHEN r.occurred > booked_at + interval '5 minutes' THEN 'occurred_in_future'
                        WHEN r.backfill IS NOT TRUE AND r.occurred < booked_at - interval '35 days'
                            THEN 'occurred_too_long_ago'
                        ELSE 'recorded'
                    END AS outcome
                FROM unnest(user_ids, keys, occurred, enforced, backfills, refusals, credits, holds)
                    WITH ORDINALITY AS r(user_id, key, occurred, enforced, backfill, refusal, credits, hold, ordinal)
                LEFT JOIN user_credit_balances AS account
                    ON account.user_id = r.user_id
                    AND locked_ids[width_bucket(r.user_id, locked_ids)] = r.user_id
                -- Written as a range in the order of the unique index: on a table without statistics yet, a plain equality
                -- may be planned on (user_id, created_at) instead, and each probe would read all of the user's events.
                LEFT JOIN LATERAL (
                    SELECT event.id,
                        (
                            event.action_type, event.model_used, event.provider, event.input_tokens, event.output_tokens,
                            event.cache_read_tokens, event.cache_write_tokens, event.reasoning_tokens, event.quantity,
                            CASE WHEN event.cost_source IN ('caller', 'action') THEN event.api_cost END,
                            CASE WHEN event.occurred_at_given THEN event.created_at END, event.hold_id
                        ) IS NOT DISTINCT FROM (
                            actions[r.ordinal], models[r.ordinal], providers[r.ordinal],
                            inputs[r.ordinal], outputs[r.ordinal], coalesce(cache_reads[r.ordinal], 0),
                            coalesce(cache_writes[r.ordinal], 0), coalesce(reasonings[r.ordinal], 0),
                            quantities[r.ordinal], given_costs[r.ordinal], r.occurred, r.hold
                        ) AS is_same_use
                    FROM credit_usage_events AS event
                    WHERE event.user_id = r.user_id
                        AND event.idempotency_key >= r.key AND event.idempotency_key <= r.key
                    ORDER BY event.idempotency_key
                    LIMIT 1
                ) AS stored ON true
            ) AS c
            WINDOW in_order AS (PARTITION BY c.user_id ORDER BY c.ordinal)
        ) AS s
        ORDER BY s.ordinal
    ) AS d;

    FOR request IN SELECT * FROM unnest(in_turn) ORDER BY user_id, ordinal LOOP
        IF request.user_id IS DISTINCT FROM current_user_id THEN
            current_user_id := request.user_id;
            running_balance := request.balance;
            running_version := request.version;
            running_held := request.held;
            captured_ids := '{}';
            accepted_keys := '{}';
            accepted_ordinals := '{}';
        END IF;
        twin := NULL;
        IF request.has_twins THEN
            twin := accepted_ordinals[array_position(accepted_keys, keys[request.ordinal])];
        END IF;

        IF request.outcome = 'voided' THEN
            SELECT voided.id,
                CASE
                    WHEN (
                        voided.action_type, voided.model_used, voided.provider, voided.input_tokens,
                        voided.output_tokens, voided.cache_read_tokens, voided.cache_write_tokens,
                        voided.reasoning_tokens, voided.quantity,
                        CASE WHEN voided.cost_source IN ('caller', 'action') THEN voided.api_cost END,
                        CASE WHEN voided.occurred_at_given THEN voided.created_at END, voided.hold_id
                    ) IS NOT DISTINCT FROM (
                        actions[request.ordinal], models[request.ordinal], providers[request.ordinal],
                        inputs[request.ordinal], outputs[request.ordinal], coalesce(cache_reads[request.ordinal], 0),
                        coalesce(cache_writes[request.ordinal], 0), coalesce(reasonings[request.ordinal], 0),
                        quantities[request.ordinal], given_costs[request.ordinal], occurred[request.ordinal],
                        holds[request.ordinal]
                    ) THEN 'replayed'
                    ELSE 'idempotency_conflict'
                END
            INTO request.stored_id, request.outcome
            FROM voided_credit_usage_events AS voided
            WHERE voided.user_id = request.user_id AND voided.idempotency_key = keys[request.ordinal];
        END IF;
        outcomes[request.ordinal] := CASE
            WHEN request.outcome IN ('unknown_user', 'untracked', 'busy', 'replayed', 'idempotency_conflict')
                THEN request.outcome
            WHEN twin IS NOT NULL AND (
                actions[twin], models[twin], providers[twin], inputs[twin], outputs[twin],
                coalesce(cache_reads[twin], 0), coalesce(cache_writes[twin], 0), coalesce(reasonings[twin], 0),
                quantities[twin], given_costs[twin], occurred[twin], holds[twin]
            ) IS NOT DISTINCT FROM (
                actions[request.ordinal], models[request.ordinal], providers[request.ordinal],
                inputs[request.ordinal], outputs[request.ordinal],
                coalesce(cache_reads[request.ordinal], 0), coalesce(cache_writes[request.ordinal], 0),
                coalesce(reasonings[request.ordinal], 0), quantities[request.ordinal],
                given_costs[request.ordinal], occurred[request.ordinal], holds[request.ordinal]
            ) THEN 'replayed'
            WHEN twin IS NOT NULL THEN 'idempotency_conflict'
            WHEN holds[request.ordinal] IS NOT NULL AND request.hold_state IS NULL THEN 'unknown_hold'
            WHEN request.hold_state = 'captured' OR holds[request.ordinal] = ANY (captured_ids) THEN 'hold_captured'
            WHEN request.outcome <> 'recorded' THEN request.outcome
            WHEN enforced[request.ordinal] AND credits[request.ordinal] > 0
                AND credits[request.ordinal]
                    > running_balance + request.overdraft_limit - running_held + coalesce(request.hold_counts, 0)
                THEN 'insufficient_credits'
            ELSE 'recorded'
        END;

        CASE outcomes[request.ordinal]
            WHEN 'recorded' THEN
                running_balance := trim_scale(running_balance - credits[request.ordinal]);
                running_version := running_version + 1;
                event_ids[request.ordinal] := nextval('credit_usage_events_id_seq');
                versions[request.ordinal] := running_version;
                IF holds[request.ordinal] IS NOT NULL THEN
                    captured_ids := captured_ids || holds[request.ordinal];
                    running_held := trim_scale(running_held - coalesce(request.hold_counts, 0));
                END IF;
                IF request.has_twins THEN
                    accepted_keys := accepted_keys || keys[request.ordinal];
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

    IF 'recorded' = ANY (outcomes) THEN
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
            r.input, r.output, coalesce(r.cache_read, 0), coalesce(r.cache_write, 0), coalesce(r.reasoning, 0),
            r.occurred IS NOT NULL,
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

        -- roll-ups:begin
        IF oldest_open_day < booked_day OR newest_open_day > booked_day OR occurred IS NOT NULL THEN
            late := open_days(user_ids, occurred, credits, costs, outcomes, booked_at);
        END IF;
        WITH used AS MATERIALIZED (
            SELECT coalesce(date_trunc('hour', r.occurred, 'UTC'), booked_hour) AS hour, r.action, r.model,
                count(*) AS events, sum(r.credits) AS credits, coalesce(sum(r.cost), 0) AS api_cost
            FROM unnest(actions, models, occurred, credits, costs, outcomes)
                AS r(action, model, occurred, credits, cost, outcome)
            WHERE r.outcome = 'recorded'
            GROUP BY 1, 2, 3
        ), hourly AS (
            -- Nothing reads from it, so it is carried out after the days.
            INSERT INTO usage_hourly AS rolled (hour, action_type, model_used, slot, events, credits, api_cost)
            SELECT hour, action, model, writer, events, trim_scale(credits), trim_scale(api_cost)
            FROM used ORDER BY hour, action, model
            ON CONFLICT (hour, action_type, model_used, slot) DO UPDATE
            SET events = rolled.events + excluded.events,
                credits = trim_scale(rolled.credits + excluded.credits),
                api_cost = trim_scale(rolled.api_cost + excluded.api_cost)
        )
        INSERT INTO usage_daily AS rolled (day, action_type, model_used, slot, events, credits, api_cost)
        SELECT (hour AT TIME ZONE 'UTC')::date, action, model, writer,
            sum(events), trim_scale(sum(credits)), trim_scale(sum(api_cost))
        FROM used GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
        ON CONFLICT (day, action_type, model_used, slot) DO UPDATE
        SET events = rolled.events + excluded.events,
            credits = trim_scale(rolled.credits + excluded.credits),
            api_cost = trim_scale(rolled.api_cost + excluded.api_cost);
        -- roll-ups:end

        -- One row a user: an UPDATE … FROM applies a single match to each row.
        UPDATE user_credit_balances AS account
        SET current_balance = trim_scale(account.current_balance - spent.credits),
            current_month_consumed = trim_scale(account.current_month_consumed + spent.credits),
            total_consumed = trim_scale(account.total_consumed + spent.credits),
            version = account.version + spent.events,
            last_event_at = greatest(account.last_event_at, spent.last_event_at),
            last_recorded_at = booked_at,
            open_events = account.open_events + spent.open_events,
            open_credits = trim_scale(account.open_credits + spent.open_credits),
            open_api_cost = trim_scale(account.open_api_cost + spent.open_api_cost)
        FROM (
            SELECT r.user_id, sum(r.credits) AS credits, count(*) AS events,
                max(coalesce(r.occurred, booked_at)) AS last_event_at,
                count(*) FILTER (WHERE r.late IS NOT TRUE) AS open_events,
                coalesce(sum(r.credits) FILTER (WHERE r.late IS NOT TRUE), 0) AS open_credits,
                coalesce(sum(r.cost) FILTER (WHERE r.late IS NOT TRUE), 0) AS open_api_cost
            FROM unnest(user_ids, credits, costs, occurred, outcomes, late)
                AS r(user_id, credits, cost, occurred, outcome, late)
            WHERE r.outcome = 'recorded'
            GROUP BY r.user_id
        ) AS spent
        WHERE account.user_id = spent.user_id;

        IF alert_below <> '{}' AND NOT settled THEN
            INSERT INTO credit_alerts (user_id, threshold, balance_before, balance_after, version, recorded_at)
            SELECT r.user_id, threshold, trim_scale(r.balance + r.credits), r.balance, r.version, booked_at
            FROM unnest(user_ids, credits, balances, versions, outcomes)
                AS r(user_id, credits, balance, version, outcome)
            CROSS JOIN unnest(alert_below) AS threshold
            WHERE r.outcome = 'recorded' AND r.balance <= threshold AND r.balance + r.credits > threshold;
        END IF;

        IF holds IS NOT NULL THEN
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
        SELECT d.ordinal, d.outcome, d.event_id,
            CASE d.outcome WHEN 'recorded' THEN coalesce(d.occurred, booked_at) ELSE event.created_at END,
            CASE d.outcome WHEN 'recorded' THEN d.credits ELSE event.credits_charged END,
            CASE d.outcome WHEN 'recorded' THEN d.cost ELSE event.api_cost END,
            CASE d.outcome WHEN 'recorded' THEN d.rate ELSE event.credits_per_dollar END,
            CASE d.outcome WHEN 'recorded' THEN d.multiplier ELSE event.multiplier END,
            CASE d.outcome WHEN 'recorded' THEN d.source ELSE event.cost_source END,
            CASE d.outcome WHEN 'recorded' THEN d.price ELSE event.price_id END,
            coalesce(event.balance_after, d.balance), coalesce(event.available_after, d.available), d.held,
            CASE d.outcome WHEN 'recorded' THEN d.version ELSE event.version END, event.next_reset_at,
            event.hold_exceeded, event.late_capture,
            CASE d.outcome WHEN 'recorded' THEN false ELSE event.voided END, booked_at
        FROM unnest(
            outcomes, user_ids, event_ids, balances, availables, helds, versions, occurred,
            credits, costs, rates, multipliers, sources, prices, holds
        ) WITH ORDINALITY AS d(
            outcome, user_id, event_id, balance, available, held, version, occurred,
            credits, cost, rate, multiplier, source, price, hold, ordinal
        )
        -- What few answers say is looked up for those alone.
        LEFT JOIN LATERAL (
            SELECT stored.*, account.next_reset_at,
                coalesce(stored.credits_charged, d.credits) > hold.amount AS hold_exceeded,
                hold.captured_at >= hold.expires_at OR hold.released_at IS NOT NULL AS late_capture
            FROM user_credit_balances AS account
            LEFT JOIN LATERAL (
                (
                    SELECT event.created_at, event.credits_charged, event.api_cost, event.credits_per_dollar,
                        event.multiplier, event.cost_source, event.price_id, event.balance_after,
                        event.available_after, event.version, false AS voided
                    FROM credit_usage_events AS event
                    WHERE d.outcome = 'replayed'
                        AND event.user_id = d.user_id AND event.id >= d.event_id AND event.id <= d.event_id
                    ORDER BY event.id
                    LIMIT 1
                )
                UNION ALL
                SELECT event.created_at, event.credits_charged, event.api_cost, event.credits_per_dollar,
                    event.multiplier, event.cost_source, event.price_id, event.balance_after,
                    event.available_after, event.version, true
                FROM voided_credit_usage_events AS event
                WHERE d.outcome = 'replayed' AND account.has_operations
                    AND event.user_id = d.user_id AND event.id = d.event_id
            ) AS stored ON true
            LEFT JOIN credit_holds AS hold
                ON d.outcome IN ('recorded', 'replayed') AND hold.user_id = d.user_id AND hold.id = d.hold
            WHERE (d.outcome <> 'recorded' OR d.hold IS NOT NULL) AND account.user_id = d.user_id
        ) AS event ON true
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
) RETURNS SETOF charge_answer
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
