-- What all services on this ledger share.
SELECT default_allowance, create_users, strict_action_types FROM ledger_settings
