-- Makes again what the roll-ups have of refunds; returns how many rows were wrong.
SELECT rebuild_refund_rollups() AS count
