-- What all services on this ledger share.
SELECT default_allowance, create_users, strict_action_types, alert_below FROM ledger_settings
