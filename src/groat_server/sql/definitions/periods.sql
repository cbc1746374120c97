-- When periods begin and end. The only place where calendar arithmetic is done.

-- Boundary n of the periods anchored at `anchor`: n months later on the user's wall clock, clamped to the month's end and
-- always counted from the anchor (31 Jan, 28 Feb, 31 Mar). A wall time that a clock change skips is read with the offset
-- before the change; one that occurs twice is the first of the two (RFC 5545, section 3.3.5).
CREATE OR REPLACE FUNCTION period_boundary(anchor timestamptz, zone text, n integer) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path FROM CURRENT
AS $$
    SELECT min(candidate.instant)
    FROM (
        SELECT (anchor AT TIME ZONE zone) + make_interval(months => n) AS wall
    ) AS boundary
    CROSS JOIN LATERAL (
        SELECT boundary.wall AT TIME ZONE zone AS instant, true AS is_default
        UNION ALL
        SELECT (boundary.wall AT TIME ZONE zone) - step, false
        FROM unnest(ARRAY[interval '30 minutes', interval '1 hour', interval '2 hours']) AS step
    ) AS candidate
    WHERE candidate.is_default OR candidate.instant AT TIME ZONE zone = boundary.wall
$$;

-- The first boundary after the period that begins at `period_start`. A period has at least 28 days on the user's calendar,
-- also where zone or anchor have changed since it began.
CREATE OR REPLACE FUNCTION next_period_boundary(anchor timestamptz, zone text, period_start timestamptz)
RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path FROM CURRENT
AS $$
DECLARE
    start_date date := (period_start AT TIME ZONE zone)::date;
    anchor_date date := (anchor AT TIME ZONE zone)::date;
    n integer := (extract(year FROM start_date) - extract(year FROM anchor_date)) * 12
        + extract(month FROM start_date) - extract(month FROM anchor_date);
    boundary timestamptz;
BEGIN
    LOOP
        boundary := period_boundary(anchor, zone, n);
        EXIT WHEN (boundary AT TIME ZONE zone)::date - start_date >= 28;
        n := n + 1;
    END LOOP;
    RETURN boundary;
END
$$;

-- The start of the period that holds `at`: the latest boundary not after it, or the anchor where there is none.
CREATE OR REPLACE FUNCTION period_start_at(anchor timestamptz, zone text, at timestamptz) RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path FROM CURRENT
AS $$
DECLARE
    anchor_wall timestamp := anchor AT TIME ZONE zone;
    wall timestamp := at AT TIME ZONE zone;
    n integer := greatest(0, (extract(year FROM wall) - extract(year FROM anchor_wall)) * 12
        + extract(month FROM wall) - extract(month FROM anchor_wall));
    boundary timestamptz := period_boundary(anchor, zone, n);
BEGIN
    IF boundary > at AND n > 0 THEN
        boundary := period_boundary(anchor, zone, n - 1);
    END IF;
    RETURN boundary;
END
$$;
