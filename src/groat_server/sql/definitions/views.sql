-- Views for tools that read the ledger: business intelligence, Grafana, spreadsheets. They are public interface: no column
-- is renamed, moved or taken away, and a new one comes last. docs/views.md describes them.
--
-- They run with their owner's rights, so that who reads them needs no right on any table: a role that was let in to read
-- (`groat db reader`) sees these columns and nothing else, no hash of a token and no audit log. Nothing here calls a
-- function of ours, which such a role may not.

CREATE OR REPLACE VIEW v_usage_events AS
SELECT event.id, event.user_id, users.email, event.created_at, event.recorded_at, event.action_type,
    event.model_used AS model, event.provider, event.input_tokens, event.output_tokens, event.cache_read_tokens,
    event.cache_write_tokens, event.reasoning_tokens, event.quantity, event.credits_charged AS credits,
    (
        SELECT coalesce(trim_scale(sum(entry.amount)), 0)
        FROM credit_ledger_entries AS entry
        WHERE entry.user_id = event.user_id AND entry.event_id = event.id AND entry.kind = 'refund'
    ) AS refunded_credits,
    event.api_cost AS api_cost_dollars, event.credits_per_dollar, event.multiplier, event.cost_source, event.price_id,
    event.balance_after, event.session_id, event.description, event.metadata, event.idempotency_key
FROM credit_usage_events AS event
LEFT JOIN users ON users.id = event.user_id;
COMMENT ON VIEW v_usage_events IS 'One row a charge that counts; voided events are not in it.';
COMMENT ON COLUMN v_usage_events.id IS 'The event''s id, unique within the user''s events.';
COMMENT ON COLUMN v_usage_events.user_id IS 'The user''s id.';
COMMENT ON COLUMN v_usage_events.email IS 'The user''s present e-mail address.';
COMMENT ON COLUMN v_usage_events.created_at IS 'When the use happened.';
COMMENT ON COLUMN v_usage_events.recorded_at IS 'When it was booked.';
COMMENT ON COLUMN v_usage_events.action_type IS 'What was done: chat, image, and so on.';
COMMENT ON COLUMN v_usage_events.model IS 'The model; null where none was named.';
COMMENT ON COLUMN v_usage_events.provider IS 'Who serves the model; null where none was named.';
COMMENT ON COLUMN v_usage_events.input_tokens IS 'All input tokens, cached ones included.';
COMMENT ON COLUMN v_usage_events.output_tokens IS 'All output tokens, reasoning included.';
COMMENT ON COLUMN v_usage_events.cache_read_tokens IS 'Input tokens that were read from a cache.';
COMMENT ON COLUMN v_usage_events.cache_write_tokens IS 'Input tokens that were written to a cache.';
COMMENT ON COLUMN v_usage_events.reasoning_tokens IS 'Output tokens that were reasoning.';
COMMENT ON COLUMN v_usage_events.quantity IS 'Units, where the action is priced by the unit.';
COMMENT ON COLUMN v_usage_events.credits IS 'Credits charged.';
COMMENT ON COLUMN v_usage_events.refunded_credits IS 'Credits given back of this event, whenever that was.';
COMMENT ON COLUMN v_usage_events.api_cost_dollars IS 'What the use cost, in USD; null where nobody knows.';
COMMENT ON COLUMN v_usage_events.credits_per_dollar IS 'The rate at which it was charged.';
COMMENT ON COLUMN v_usage_events.multiplier IS 'The margin at which it was charged.';
COMMENT ON COLUMN v_usage_events.cost_source IS 'Where the cost came from: model, action, caller, fallback or unpriced.';
COMMENT ON COLUMN v_usage_events.price_id IS 'The price version that priced it (v_price_versions).';
COMMENT ON COLUMN v_usage_events.balance_after IS 'The balance that it left.';
COMMENT ON COLUMN v_usage_events.session_id IS 'The application''s session.';
COMMENT ON COLUMN v_usage_events.description IS 'What the application said of it.';
COMMENT ON COLUMN v_usage_events.metadata IS 'What else the application said of it, as JSON.';
COMMENT ON COLUMN v_usage_events.idempotency_key IS 'Its key, unique within the user''s events.';

CREATE OR REPLACE VIEW v_usage_hourly AS
SELECT hourly.hour, hourly.action_type, hourly.model_used AS model, CAST(sum(hourly.events) AS bigint) AS events,
    trim_scale(sum(hourly.credits)) AS credits, trim_scale(sum(hourly.refunded)) AS refunded_credits,
    trim_scale(sum(hourly.api_cost)) AS api_cost_dollars
FROM usage_hourly AS hourly
GROUP BY hourly.hour, hourly.action_type, hourly.model_used
HAVING sum(hourly.events) <> 0;
COMMENT ON VIEW v_usage_hourly IS 'Usage by hour (UTC), action type and model, from the roll-ups.';
COMMENT ON COLUMN v_usage_hourly.hour IS 'When the hour begins; events count in the hour in which they happened.';
COMMENT ON COLUMN v_usage_hourly.action_type IS 'What was done.';
COMMENT ON COLUMN v_usage_hourly.model IS 'The model; null where none was named.';
COMMENT ON COLUMN v_usage_hourly.events IS 'How many events.';
COMMENT ON COLUMN v_usage_hourly.credits IS 'Credits charged.';
COMMENT ON COLUMN v_usage_hourly.refunded_credits IS 'Credits given back of these events, whenever that was.';
COMMENT ON COLUMN v_usage_hourly.api_cost_dollars IS 'What the use cost, in USD.';

CREATE OR REPLACE VIEW v_usage_daily AS
SELECT daily.day, daily.action_type, daily.model_used AS model, CAST(sum(daily.events) AS bigint) AS events,
    trim_scale(sum(daily.credits)) AS credits, trim_scale(sum(daily.refunded)) AS refunded_credits,
    trim_scale(sum(daily.api_cost)) AS api_cost_dollars
FROM usage_daily AS daily
GROUP BY daily.day, daily.action_type, daily.model_used
HAVING sum(daily.events) <> 0;
COMMENT ON VIEW v_usage_daily IS 'Usage by day (UTC), action type and model, from the roll-ups.';
COMMENT ON COLUMN v_usage_daily.day IS 'The day; events count on the day on which they happened.';
COMMENT ON COLUMN v_usage_daily.action_type IS 'What was done.';
COMMENT ON COLUMN v_usage_daily.model IS 'The model; null where none was named.';
COMMENT ON COLUMN v_usage_daily.events IS 'How many events.';
COMMENT ON COLUMN v_usage_daily.credits IS 'Credits charged.';
COMMENT ON COLUMN v_usage_daily.refunded_credits IS 'Credits given back of these events, whenever that was.';
COMMENT ON COLUMN v_usage_daily.api_cost_dollars IS 'What the use cost, in USD.';

CREATE OR REPLACE VIEW v_user_usage_daily AS
SELECT daily.user_id, users.email, daily.day, daily.events, daily.credits, daily.api_cost_dollars
FROM (
    SELECT closed.user_id, closed.day, closed.events, closed.credits, closed.api_cost AS api_cost_dollars
    FROM user_daily AS closed
    UNION ALL
    SELECT account.user_id, account.open_day, account.open_events, account.open_credits, account.open_api_cost
    FROM user_credit_balances AS account
    WHERE account.open_events > 0
) AS daily
LEFT JOIN users ON users.id = daily.user_id;
COMMENT ON VIEW v_user_usage_daily IS 'Each user''s usage by day (UTC), from the roll-ups. Days without an event have no row.';
COMMENT ON COLUMN v_user_usage_daily.user_id IS 'The user''s id.';
COMMENT ON COLUMN v_user_usage_daily.email IS 'The user''s present e-mail address.';
COMMENT ON COLUMN v_user_usage_daily.day IS 'The day; events count on the day on which they happened.';
COMMENT ON COLUMN v_user_usage_daily.events IS 'How many events.';
COMMENT ON COLUMN v_user_usage_daily.credits IS 'Credits charged.';
COMMENT ON COLUMN v_user_usage_daily.api_cost_dollars IS 'What the use cost, in USD.';

CREATE OR REPLACE VIEW v_user_balances AS
SELECT users.id AS user_id, users.email, users.full_name, users.external_id, users.demo_mode, users.is_admin,
    users.created_at, users.anonymised_at, balance.current_balance AS balance, held.credits AS held,
    trim_scale(balance.current_balance + balance.overdraft_limit - held.credits) AS available,
    balance.overdraft_limit, balance.monthly_allowance, balance.current_month_consumed AS period_consumed,
    balance.total_consumed, balance.period_start, balance.next_reset_at, balance.last_event_at,
    balance.last_recorded_at
FROM users
LEFT JOIN user_credit_balances AS balance ON balance.user_id = users.id
LEFT JOIN LATERAL (
    SELECT coalesce(trim_scale(sum(hold.amount)), 0) AS credits
    FROM credit_holds AS hold
    WHERE hold.user_id = balance.user_id AND hold.state = 'open'
        AND hold.expires_at > greatest(now(), balance.last_recorded_at)
) AS held ON balance.user_id IS NOT NULL;
COMMENT ON VIEW v_user_balances IS 'One row a user, with the balance as its last booking left it. Whoever is in demo mode has none. What is due by the clock, such as a reset, is booked within a minute.';
COMMENT ON COLUMN v_user_balances.user_id IS 'The user''s id.';
COMMENT ON COLUMN v_user_balances.email IS 'The user''s present e-mail address.';
COMMENT ON COLUMN v_user_balances.full_name IS 'The user''s name.';
COMMENT ON COLUMN v_user_balances.external_id IS 'The id that the application gave.';
COMMENT ON COLUMN v_user_balances.demo_mode IS 'Whether nothing is tracked of this user.';
COMMENT ON COLUMN v_user_balances.is_admin IS 'Whether this user administers Groat.';
COMMENT ON COLUMN v_user_balances.created_at IS 'When the user was made.';
COMMENT ON COLUMN v_user_balances.anonymised_at IS 'When personal data was taken out; null: never.';
COMMENT ON COLUMN v_user_balances.balance IS 'Credits.';
COMMENT ON COLUMN v_user_balances.held IS 'Credits that open holds set aside at present.';
COMMENT ON COLUMN v_user_balances.available IS 'What can be charged at present: balance and overdraft less what is held.';
COMMENT ON COLUMN v_user_balances.overdraft_limit IS 'How far the balance may go below zero.';
COMMENT ON COLUMN v_user_balances.monthly_allowance IS 'Credits granted each period.';
COMMENT ON COLUMN v_user_balances.period_consumed IS 'Credits booked since period_start.';
COMMENT ON COLUMN v_user_balances.total_consumed IS 'Credits of all events.';
COMMENT ON COLUMN v_user_balances.period_start IS 'When the present period began.';
COMMENT ON COLUMN v_user_balances.next_reset_at IS 'When it ends.';
COMMENT ON COLUMN v_user_balances.last_event_at IS 'When the latest use happened.';
COMMENT ON COLUMN v_user_balances.last_recorded_at IS 'When something was booked last.';

CREATE OR REPLACE VIEW v_ledger_entries AS
SELECT entry.id, entry.user_id, users.email, entry.recorded_at, entry.kind, entry.amount, entry.balance_after,
    entry.version, entry.period_start, entry.event_id, entry.lot_id, entry.reason, entry.actor
FROM credit_ledger_entries AS entry
LEFT JOIN users ON users.id = entry.user_id;
COMMENT ON VIEW v_ledger_entries IS 'Everything but charges that moved a balance: allowances, purchases, promotions, refunds, adjustments, expiries.';
COMMENT ON COLUMN v_ledger_entries.id IS 'The entry''s id, unique within the user''s entries.';
COMMENT ON COLUMN v_ledger_entries.user_id IS 'The user''s id.';
COMMENT ON COLUMN v_ledger_entries.email IS 'The user''s present e-mail address.';
COMMENT ON COLUMN v_ledger_entries.recorded_at IS 'When it was booked.';
COMMENT ON COLUMN v_ledger_entries.kind IS 'allowance, purchase, promotion, rollover, refund, adjustment or expiry.';
COMMENT ON COLUMN v_ledger_entries.amount IS 'Credits, with their sign.';
COMMENT ON COLUMN v_ledger_entries.balance_after IS 'The balance that it left.';
COMMENT ON COLUMN v_ledger_entries.version IS 'Its place among all that moved this balance.';
COMMENT ON COLUMN v_ledger_entries.period_start IS 'The period that it belongs to, where a period''s end made it.';
COMMENT ON COLUMN v_ledger_entries.event_id IS 'The event that a refund gives back.';
COMMENT ON COLUMN v_ledger_entries.lot_id IS 'The lot that it brought in or, an expiry, took away.';
COMMENT ON COLUMN v_ledger_entries.reason IS 'Why, as whoever did it said.';
COMMENT ON COLUMN v_ledger_entries.actor IS 'Who did it; null: the ledger itself.';

CREATE OR REPLACE VIEW v_lots AS
SELECT lot.id, lot.user_id, users.email, lot.kind, lot.amount,
    trim_scale(
        lot.remaining - CASE
            WHEN lot.version IS NULL OR lot.remaining = 0 THEN 0
            ELSE greatest(0, least(lot.remaining, owed.credits - lot.before))
        END
    ) AS remaining,
    lot.priority, lot.cost_basis AS cost_basis_dollars, lot.starts_at, lot.expires_at, lot.reason, lot.actor
FROM (
    SELECT listed.*,
        sum(listed.remaining) FILTER (WHERE listed.version IS NOT NULL) OVER in_order - listed.remaining AS before,
        sum(listed.remaining) FILTER (WHERE listed.version IS NOT NULL) OVER (PARTITION BY listed.user_id) AS drawable
    FROM credit_lots AS listed
    WINDOW in_order AS (
        PARTITION BY listed.user_id
        ORDER BY listed.version IS NULL, listed.priority, listed.expires_at NULLS LAST,
            coalesce(listed.cost_basis, 0) > 0, listed.starts_at, listed.id
    )
) AS lot
LEFT JOIN user_credit_balances AS balance ON balance.user_id = lot.user_id
LEFT JOIN LATERAL (
    -- What was consumed since the last boundary is in no lot's own column yet.
    SELECT coalesce(lot.drawable, 0) - coalesce(sum(debt.amount), 0) - balance.current_balance AS credits
    FROM credit_lot_draws AS debt
    WHERE debt.user_id = lot.user_id AND debt.lot_id IS NULL
) AS owed ON true
LEFT JOIN users ON users.id = lot.user_id;
COMMENT ON VIEW v_lots IS 'Credits that were given, with what is left of each gift at present.';
COMMENT ON COLUMN v_lots.id IS 'The lot''s id, unique within the user''s lots.';
COMMENT ON COLUMN v_lots.user_id IS 'The user''s id.';
COMMENT ON COLUMN v_lots.email IS 'The user''s present e-mail address.';
COMMENT ON COLUMN v_lots.kind IS 'allowance, purchase, promotion, rollover, refund or adjustment.';
COMMENT ON COLUMN v_lots.amount IS 'Credits given.';
COMMENT ON COLUMN v_lots.remaining IS 'Credits left at present.';
COMMENT ON COLUMN v_lots.priority IS 'Lots of a lower number are drawn on first.';
COMMENT ON COLUMN v_lots.cost_basis_dollars IS 'USD that were paid for each credit; null: none.';
COMMENT ON COLUMN v_lots.starts_at IS 'When it counts from.';
COMMENT ON COLUMN v_lots.expires_at IS 'When what is left goes; null: never.';
COMMENT ON COLUMN v_lots.reason IS 'Why, as whoever gave it said.';
COMMENT ON COLUMN v_lots.actor IS 'Who gave it; null: the ledger itself.';

CREATE OR REPLACE VIEW v_holds AS
SELECT 'hold_' || hold.user_id || '_' || hold.id AS id, hold.user_id, users.email,
    CASE WHEN hold.state = 'open' AND hold.expires_at <= now() THEN 'expired' ELSE hold.state END AS state,
    hold.amount, hold.created_at, hold.expires_at, hold.captured_at, hold.released_at, hold.event_id,
    hold.action_type, hold.model, hold.description
FROM credit_holds AS hold
LEFT JOIN users ON users.id = hold.user_id;
COMMENT ON VIEW v_holds IS 'Credits set aside before a use, and what became of them.';
COMMENT ON COLUMN v_holds.id IS 'The hold''s id.';
COMMENT ON COLUMN v_holds.user_id IS 'The user''s id.';
COMMENT ON COLUMN v_holds.email IS 'The user''s present e-mail address.';
COMMENT ON COLUMN v_holds.state IS 'At present: open, captured, released or expired.';
COMMENT ON COLUMN v_holds.amount IS 'Credits set aside.';
COMMENT ON COLUMN v_holds.created_at IS 'When it was placed.';
COMMENT ON COLUMN v_holds.expires_at IS 'When it stops counting.';
COMMENT ON COLUMN v_holds.captured_at IS 'When it was captured; null: never.';
COMMENT ON COLUMN v_holds.released_at IS 'When it was released; null: never.';
COMMENT ON COLUMN v_holds.event_id IS 'The event that captured it.';
COMMENT ON COLUMN v_holds.action_type IS 'What it is for.';
COMMENT ON COLUMN v_holds.model IS 'The model that it is for.';
COMMENT ON COLUMN v_holds.description IS 'What the application said of it.';

CREATE OR REPLACE VIEW v_price_versions AS
SELECT price.id, price.kind, price.name, price.provider, price.source,
    NULLIF(price.valid_from, '-infinity') AS valid_from, price.valid_to, price.daily_from, price.daily_to, price.rates,
    price.multiplier, price.note, price.recorded_at
FROM price_versions AS price;
COMMENT ON VIEW v_price_versions IS 'Every price that there is or was, of models and of actions. A later row of the same kind, name, provider, source, start and hours supersedes an earlier one.';
COMMENT ON COLUMN v_price_versions.id IS 'The version''s id.';
COMMENT ON COLUMN v_price_versions.kind IS 'model or action.';
COMMENT ON COLUMN v_price_versions.name IS 'The model or the action type.';
COMMENT ON COLUMN v_price_versions.provider IS 'Whose model; null: anybody''s.';
COMMENT ON COLUMN v_price_versions.source IS 'catalogue, or override: set by hand, which goes first.';
COMMENT ON COLUMN v_price_versions.valid_from IS 'From when it prices; null: it always has.';
COMMENT ON COLUMN v_price_versions.valid_to IS 'Until when; null: no end is set.';
COMMENT ON COLUMN v_price_versions.daily_from IS 'From which time of the day (UTC); null: all day.';
COMMENT ON COLUMN v_price_versions.daily_to IS 'Until which time of the day (UTC).';
COMMENT ON COLUMN v_price_versions.rates IS 'Of a model USD per million tokens, of an action credits, as JSON.';
COMMENT ON COLUMN v_price_versions.multiplier IS 'A margin of its own; null: the price book''s.';
COMMENT ON COLUMN v_price_versions.note IS 'What was said when it was set.';
COMMENT ON COLUMN v_price_versions.recorded_at IS 'When it was set.';
