-- An event that a price list priced pins the price, one in force when the use happened, and cost what its rates come
-- to; any other event pins none, and one without a price was free.
WITH tiers AS (
    SELECT price.id, rate.key AS kind, CAST(tier.value ->> 0 AS bigint) AS above,
        CAST(tier.value ->> 1 AS numeric) AS dollars
    FROM price_versions AS price
    CROSS JOIN LATERAL jsonb_each(price.rates) AS rate
    CROSS JOIN LATERAL jsonb_array_elements(
        CASE jsonb_typeof(rate.value)
            WHEN 'array' THEN rate.value ELSE jsonb_build_array(jsonb_build_array(0, rate.value))
        END
    ) AS tier
    WHERE price.kind = 'model'
), spans AS (
    -- From which number of input tokens on until which the same tiers apply.
    SELECT id, above, lead(above) OVER (PARTITION BY id ORDER BY above) AS until
    FROM tiers GROUP BY id, above
), applied AS (
    SELECT DISTINCT ON (span.id, span.above, tier.kind) span.id, span.above, span.until, tier.kind, tier.dollars
    FROM spans AS span
    JOIN tiers AS tier ON tier.id = span.id AND tier.above <= span.above
    ORDER BY span.id, span.above, tier.kind, tier.above DESC
), rates AS (
    SELECT id, above, until,
        coalesce(max(dollars) FILTER (WHERE kind = 'input'), 0) AS input,
        coalesce(max(dollars) FILTER (WHERE kind = 'output'), 0) AS output,
        coalesce(
            max(dollars) FILTER (WHERE kind = 'cache_read'), max(dollars) FILTER (WHERE kind = 'input'), 0
        ) AS cache_read,
        coalesce(
            max(dollars) FILTER (WHERE kind = 'cache_write'), max(dollars) FILTER (WHERE kind = 'input'), 0
        ) AS cache_write,
        coalesce(
            max(dollars) FILTER (WHERE kind = 'reasoning'), max(dollars) FILTER (WHERE kind = 'output'), 0
        ) AS reasoning,
        coalesce(max(dollars) FILTER (WHERE kind = 'request'), 0) AS request
    FROM applied GROUP BY id, above, until
), events AS (
    SELECT user_id, id, created_at, price_id, cost_source, credits_charged, api_cost, multiplier, quantity,
        input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens
    FROM credit_usage_events
    UNION ALL
    SELECT user_id, id, created_at, price_id, cost_source, credits_charged, api_cost, multiplier, quantity,
        input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens
    FROM voided_credit_usage_events
), owed AS (
    SELECT event.user_id, event.id, event.created_at, event.price_id, event.cost_source, event.credits_charged,
        event.api_cost, event.multiplier, price.kind, price.valid_from, price.valid_to,
        CASE event.cost_source
            WHEN 'model' THEN rates.request + 0.000001 * (
                rates.input * (event.input_tokens - event.cache_read_tokens - event.cache_write_tokens)
                + rates.cache_read * event.cache_read_tokens + rates.cache_write * event.cache_write_tokens
                + rates.output * (event.output_tokens - event.reasoning_tokens)
                + rates.reasoning * event.reasoning_tokens
            )
            WHEN 'action' THEN round(coalesce(
                CAST(price.rates ->> 'credits_per_use' AS numeric),
                CAST(price.rates ->> 'credits_per_unit' AS numeric) * coalesce(event.quantity, 1)
            ), 12)
            ELSE 0
        END AS amount
    FROM events AS event
    LEFT JOIN price_versions AS price ON price.id = event.price_id
    LEFT JOIN rates ON rates.id = event.price_id AND (event.input_tokens > rates.above OR rates.above = 0)
        AND (event.input_tokens <= rates.until OR rates.until IS NULL)
)
SELECT 'event ' || id || ' of user ' || user_id AS subject,
    CASE
        WHEN cost_source IN ('caller', 'fallback', 'unpriced') AND price_id IS NOT NULL
            THEN 'pins price ' || price_id || ', though its cost is of the source ' || cost_source
        WHEN cost_source = 'unpriced' THEN 'was charged ' || credits_charged || ' without a price'
        WHEN kind IS DISTINCT FROM cost_source
            THEN 'pins price ' || coalesce(CAST(price_id AS text), 'null') || ', which is no price of a ' || cost_source
        WHEN created_at < valid_from OR created_at >= valid_to
            THEN 'is of ' || created_at || ', when price ' || price_id || ' was not in force'
        WHEN cost_source = 'action' THEN 'was charged ' || credits_charged || ', price ' || price_id || ' comes to '
            || coalesce(CAST(trim_scale(amount) AS text), 'nothing')
        ELSE 'cost ' || coalesce(CAST(api_cost AS text), 'nothing') || ', price ' || price_id || ' comes to '
            || coalesce(CAST(trim_scale(amount) AS text), 'nothing')
    END AS finding
FROM owed
WHERE CASE cost_source
    WHEN 'model' THEN kind IS DISTINCT FROM 'model' OR created_at < valid_from OR created_at >= valid_to
        OR api_cost IS DISTINCT FROM amount
    WHEN 'action' THEN kind IS DISTINCT FROM 'action' OR created_at < valid_from OR created_at >= valid_to
        OR credits_charged IS DISTINCT FROM amount
    WHEN 'unpriced' THEN price_id IS NOT NULL OR credits_charged <> 0
    ELSE price_id IS NOT NULL
END
ORDER BY user_id, id
