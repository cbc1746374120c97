-- Roll-ups: what reports add up, kept by the ledger's functions in the transaction of each event. All days and hours are
-- of created_at, in UTC. They are empty here: `rebuild_rollups` fills them from the events once its definition is there.

CREATE TABLE usage_hourly (
    hour timestamptz NOT NULL,
    action_type text NOT NULL,
    model_used text,
    slot smallint NOT NULL,
    events bigint NOT NULL,
    credits numeric NOT NULL,
    api_cost numeric NOT NULL,
    refunded numeric NOT NULL DEFAULT 0,
    CONSTRAINT usage_hourly_key UNIQUE NULLS NOT DISTINCT (hour, action_type, model_used, slot)
) WITH (fillfactor = 70);
COMMENT ON TABLE usage_hourly IS 'Usage by hour, action type and model. Sum over slots: each writer has its own, so that none waits for another; one slot''s figures may be negative.';
COMMENT ON COLUMN usage_hourly.refunded IS 'Credits given back of the events of this hour, whenever that was.';

CREATE TABLE usage_daily (
    day date NOT NULL,
    action_type text NOT NULL,
    model_used text,
    slot smallint NOT NULL,
    events bigint NOT NULL,
    credits numeric NOT NULL,
    api_cost numeric NOT NULL,
    refunded numeric NOT NULL DEFAULT 0,
    CONSTRAINT usage_daily_key UNIQUE NULLS NOT DISTINCT (day, action_type, model_used, slot)
) WITH (fillfactor = 70);
COMMENT ON TABLE usage_daily IS 'Usage by day, action type and model; the sums of usage_hourly.';

CREATE TABLE usage_daily_users (
    day date NOT NULL,
    slot smallint NOT NULL,
    users bigint NOT NULL,
    CONSTRAINT usage_daily_users_pkey PRIMARY KEY (day, slot)
) WITH (fillfactor = 70);
COMMENT ON TABLE usage_daily_users IS 'How many users have an event on each day; sum over slots.';

CREATE TABLE user_daily (
    user_id bigint NOT NULL,
    day date NOT NULL,
    events bigint NOT NULL,
    credits numeric NOT NULL,
    api_cost numeric NOT NULL,
    last_at timestamptz NOT NULL,
    actions jsonb,
    CONSTRAINT user_daily_pkey PRIMARY KEY (user_id, day),
    CONSTRAINT user_daily_events CHECK (events > 0)
);
CREATE INDEX user_daily_day_idx ON user_daily (day, last_at);
-- Days of so many events that their parts are worth adding up.
CREATE INDEX user_daily_unfilled_idx ON user_daily (day) WHERE actions IS NULL AND events >= 200;
COMMENT ON TABLE user_daily IS 'Each user''s usage by day, but for the newest day, which stands in user_credit_balances until a newer one comes.';
COMMENT ON COLUMN user_daily.last_at IS 'The latest created_at of the day.';
COMMENT ON COLUMN user_daily.actions IS 'The day and its hours, each by action type: [events, credits, api_cost]. Null: nobody has added them up.';

ALTER TABLE user_credit_balances ADD COLUMN closed_month date;
ALTER TABLE user_credit_balances ADD COLUMN closed_month_credits numeric NOT NULL DEFAULT 0;
ALTER TABLE user_credit_balances ADD COLUMN closed_previous_credits numeric NOT NULL DEFAULT 0;
ALTER TABLE user_credit_balances ADD COLUMN open_day date;
ALTER TABLE user_credit_balances ADD COLUMN open_events bigint NOT NULL DEFAULT 0;
ALTER TABLE user_credit_balances ADD COLUMN open_credits numeric NOT NULL DEFAULT 0;
ALTER TABLE user_credit_balances ADD COLUMN open_api_cost numeric NOT NULL DEFAULT 0;
COMMENT ON COLUMN user_credit_balances.closed_month IS 'The calendar month of open_day when it was opened.';
COMMENT ON COLUMN user_credit_balances.closed_month_credits IS 'At least the credits in user_daily of closed_month.';
COMMENT ON COLUMN user_credit_balances.closed_previous_credits IS 'At least the credits in user_daily of the month before closed_month.';
COMMENT ON COLUMN user_credit_balances.open_day IS 'The newest day with an event of this user; its figures are the open_ columns, and last_event_at its last.';

COMMENT ON COLUMN user_credit_balances.has_operations IS 'Whether keys of this user stand in credit_operations or voided_credit_usage_events, or the user was anonymised; a charge need look for neither otherwise.';
UPDATE user_credit_balances AS account SET has_operations = true
FROM users WHERE users.id = account.user_id AND users.anonymised_at IS NOT NULL;

-- A charge that must be decided in turn with the others of its user: see charge_batch.
CREATE TYPE charge_in_turn AS (
    ordinal bigint,
    user_id bigint,
    outcome text,
    stored_id bigint,
    has_twins boolean,
    hold_state text,
    hold_counts numeric,
    balance numeric,
    overdraft_limit numeric,
    held numeric,
    version bigint
);

-- What became of a charge, and the balance it left.
CREATE TYPE charge_answer AS (
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
);

-- Functions that return that type now; the definitions bring them anew.
-- squawk-ignore ban-drop-function
DROP FUNCTION IF EXISTS charge_batch, charge_batch_at;
