-- The present instant, by the clock that says when something was booked.
SELECT now() AS looked_at
