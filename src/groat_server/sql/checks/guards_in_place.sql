-- Every trigger, constraint and unique index that keeps the books is there and on, and no column may be empty that must
-- not be.
WITH guarded (relation, triggers, constraints, optional_columns) AS (VALUES
    -- A trigger with its function; the names of constraints and unique indexes; columns that may be null.
    (
        'access_tokens',
        ARRAY[
            'access_tokens_audit tokens_audit', 'access_tokens_audit_changed tokens_audit',
            'access_tokens_audit_truncated audit_statement'
        ],
        ARRAY[
            'access_tokens_holder', 'access_tokens_pkey', 'access_tokens_scopes', 'access_tokens_token_hash_key'
        ],
        ARRAY['user_id', 'expires_at', 'last_used_at', 'revoked_at', 'replaced_by']
    ),
    (
        'action_types',
        ARRAY['action_types_audit audit_statement'],
        ARRAY['action_types_name', 'action_types_pkey'],
        CAST('{}' AS text[])
    ),
    (
        'audit_log',
        ARRAY[
            'audit_log_anonymise refuse_but_correction', 'audit_log_anonymise_one refuse_other_users',
            'audit_log_immutable refuse_change'
        ],
        ARRAY['audit_log_pkey'],
        ARRAY['user_id']
    ),
    (
        'credit_alerts',
        ARRAY['credit_alerts_immutable refuse_change'],
        ARRAY['credit_alerts_crossing_key', 'credit_alerts_pkey'],
        CAST('{}' AS text[])
    ),
    (
        'credit_holds',
        ARRAY['credit_holds_immutable refuse_change'],
        ARRAY[
            'credit_holds_amount', 'credit_holds_captured', 'credit_holds_idempotency_key', 'credit_holds_life',
            'credit_holds_pkey', 'credit_holds_released', 'credit_holds_state'
        ],
        ARRAY['released_at', 'captured_at', 'event_id', 'action_type', 'model', 'description']
    ),
    (
        'credit_ledger_entries',
        ARRAY[
            'credit_ledger_entries_anonymise refuse_but_correction',
            'credit_ledger_entries_anonymise_one refuse_other_users',
            'credit_ledger_entries_immutable refuse_change', 'credit_ledger_entries_no_delete refuse_ledger_delete'
        ],
        ARRAY[
            'credit_ledger_entries_amount', 'credit_ledger_entries_balance_after',
            'credit_ledger_entries_expiry_key', 'credit_ledger_entries_kind', 'credit_ledger_entries_period_key',
            'credit_ledger_entries_pkey', 'credit_ledger_entries_version_key'
        ],
        ARRAY['period_start', 'reason', 'actor', 'event_id', 'lot_id']
    ),
    (
        'credit_lot_draws',
        ARRAY['credit_lot_draws_booked refuse_but_booking'],
        ARRAY['credit_lot_draws_amount', 'credit_lot_draws_first_credit', 'credit_lot_draws_pkey'],
        ARRAY['lot_id']
    ),
    (
        'credit_lot_returns',
        ARRAY['credit_lot_returns_booked refuse_but_booking'],
        ARRAY['credit_lot_returns_amount', 'credit_lot_returns_pkey'],
        ARRAY['drawn_from', 'returned_to']
    ),
    (
        'credit_lots',
        ARRAY['credit_lots_booked refuse_but_booking'],
        ARRAY[
            'credit_lots_amount', 'credit_lots_cost_basis', 'credit_lots_kind', 'credit_lots_life',
            'credit_lots_pkey', 'credit_lots_priority', 'credit_lots_remaining'
        ],
        ARRAY['cost_basis', 'expires_at', 'version', 'reason', 'actor']
    ),
    (
        'credit_operations',
        ARRAY[
            'credit_operations_anonymise refuse_but_correction',
            'credit_operations_anonymise_one refuse_other_users', 'credit_operations_immutable refuse_change'
        ],
        ARRAY['credit_operations_pkey', 'credit_operations_verb'],
        CAST('{}' AS text[])
    ),
    (
        'credit_usage_events',
        ARRAY[
            'credit_usage_events_anonymise refuse_but_correction',
            'credit_usage_events_anonymise_one refuse_other_users', 'credit_usage_events_immutable refuse_change',
            'credit_usage_events_no_demo refuse_demo_events', 'credit_usage_events_void refuse_but_correction',
            'credit_usage_events_void_moved refuse_loss', 'credit_usage_events_void_one refuse_other_users'
        ],
        ARRAY[
            'credit_usage_events_api_cost', 'credit_usage_events_cost_source', 'credit_usage_events_credits_charged',
            'credit_usage_events_idempotency_key', 'credit_usage_events_pkey', 'credit_usage_events_tokens'
        ],
        ARRAY[
            'price_id', 'api_cost', 'quantity', 'model_used', 'provider', 'description', 'session_id', 'metadata',
            'hold_id'
        ]
    ),
    (
        'dashboard_sessions',
        ARRAY['dashboard_sessions_audit sessions_audit', 'dashboard_sessions_audit_changed sessions_audit'],
        ARRAY['dashboard_sessions_holder', 'dashboard_sessions_pkey', 'dashboard_sessions_session_hash_key'],
        ARRAY['user_id', 'token_id', 'ended_at']
    ),
    (
        'import_jobs',
        CAST('{}' AS text[]),
        ARRAY['import_jobs_digest_key', 'import_jobs_pkey'],
        ARRAY['finished_at']
    ),
    (
        'ledger_settings',
        ARRAY['ledger_settings_audit settings_audit'],
        ARRAY[
            'ledger_settings_alert_below', 'ledger_settings_default_allowance', 'ledger_settings_one_row',
            'ledger_settings_pkey'
        ],
        CAST('{}' AS text[])
    ),
    (
        'login_links',
        ARRAY['login_links_audit links_audit'],
        ARRAY['login_links_link_hash_key', 'login_links_pkey'],
        ARRAY['used_at']
    ),
    (
        'price_book',
        ARRAY['price_book_audit settings_audit'],
        ARRAY[
            'price_book_credits_per_dollar', 'price_book_fallback_rates', 'price_book_multiplier',
            'price_book_one_row', 'price_book_pkey', 'price_book_unknown_model'
        ],
        ARRAY['fallback_rates', 'catalogue_version']
    ),
    (
        'price_versions',
        ARRAY['price_versions_audit prices_audit', 'price_versions_immutable refuse_change'],
        ARRAY[
            'price_versions_daily', 'price_versions_kind', 'price_versions_multiplier', 'price_versions_period',
            'price_versions_pkey', 'price_versions_source'
        ],
        ARRAY['provider', 'valid_to', 'daily_from', 'daily_to', 'multiplier', 'note']
    ),
    (
        'schema_definitions',
        CAST('{}' AS text[]),
        ARRAY['schema_definitions_pkey'],
        CAST('{}' AS text[])
    ),
    (
        'usage_daily',
        CAST('{}' AS text[]),
        ARRAY['usage_daily_key'],
        ARRAY['model_used']
    ),
    (
        'usage_daily_users',
        CAST('{}' AS text[]),
        ARRAY['usage_daily_users_pkey'],
        CAST('{}' AS text[])
    ),
    (
        'usage_hourly',
        CAST('{}' AS text[]),
        ARRAY['usage_hourly_key'],
        ARRAY['model_used']
    ),
    (
        'user_credit_balances',
        CAST('{}' AS text[]),
        ARRAY[
            'user_credit_balances_allocated', 'user_credit_balances_boundary',
            'user_credit_balances_current_balance', 'user_credit_balances_current_month_consumed',
            'user_credit_balances_monthly_allowance', 'user_credit_balances_overdraft_limit',
            'user_credit_balances_pkey', 'user_credit_balances_rollover_cap', 'user_credit_balances_total_consumed',
            'user_credit_balances_total_voided', 'user_credit_balances_user_id_fkey'
        ],
        ARRAY['last_event_at', 'held_until', 'closed_month', 'open_day']
    ),
    (
        'user_daily',
        CAST('{}' AS text[]),
        ARRAY['user_daily_events', 'user_daily_pkey'],
        ARRAY['actions']
    ),
    (
        'user_emails',
        CAST('{}' AS text[]),
        ARRAY['user_emails_pkey'],
        CAST('{}' AS text[])
    ),
    (
        'user_external_ids',
        CAST('{}' AS text[]),
        ARRAY['user_external_ids_pkey'],
        CAST('{}' AS text[])
    ),
    (
        'users',
        ARRAY[
            'users_audit_changed users_audit_change', 'users_audit_created users_audit_created',
            'users_audit_deleted users_audit_change', 'users_audit_truncated audit_statement',
            'users_before_write users_before_write', 'users_claim_names users_claim_names',
            'users_keep_balance users_keep_balance'
        ],
        ARRAY['users_email', 'users_external_id', 'users_full_name', 'users_opening_allowance', 'users_pkey'],
        ARRAY['full_name', 'external_id', 'opening_allowance', 'anonymised_at']
    ),
    (
        'voided_credit_usage_events',
        ARRAY[
            'voided_credit_usage_events_anonymise refuse_but_correction',
            'voided_credit_usage_events_anonymise_one refuse_other_users',
            'voided_credit_usage_events_immutable refuse_change'
        ],
        ARRAY[
            'credit_usage_events_api_cost', 'credit_usage_events_cost_source', 'credit_usage_events_credits_charged',
            'credit_usage_events_tokens', 'voided_credit_usage_events_idempotency_key',
            'voided_credit_usage_events_pkey', 'voided_credit_usage_events_version_key'
        ],
        ARRAY[
            'price_id', 'api_cost', 'quantity', 'model_used', 'provider', 'description', 'session_id', 'metadata',
            'hold_id', 'void_reason', 'voided_by'
        ]
    )
)
SELECT 'table ' || relation AS subject, 'lacks the trigger ' || split_part(name, ' ', 1) || ', or has it off' AS finding
FROM guarded
CROSS JOIN LATERAL unnest(triggers) AS name
WHERE NOT EXISTS (
    SELECT FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid
    WHERE tgrelid = to_regclass(relation) AND tgname || ' ' || proname = name AND tgenabled IN ('O', 'A')
)
UNION ALL
SELECT 'table ' || relation, 'lacks ' || name
FROM guarded
CROSS JOIN LATERAL unnest(constraints) AS name
WHERE NOT EXISTS (
    SELECT FROM pg_constraint WHERE conrelid = to_regclass(relation) AND conname = name AND convalidated
    UNION ALL
    SELECT FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
    WHERE indrelid = to_regclass(relation) AND relname = name AND indisunique AND indisvalid
)
UNION ALL
SELECT 'table ' || relation, 'may be without ' || attname
FROM guarded
JOIN pg_attribute ON attrelid = to_regclass(relation) AND attnum > 0 AND NOT attisdropped
WHERE NOT attnotnull AND attname <> ALL (optional_columns)
UNION ALL
SELECT 'session_replication_role', 'is ' || current_setting('session_replication_role') || ', so no trigger fires'
WHERE current_setting('session_replication_role') <> 'origin'
