-- The same as a function in SQL, which the harness creates: one row in, nothing to plan.
\set user random(:first, :last)
SELECT bench_charge(:user, 'ai_chat_message', 'claude-3-5-sonnet', 1000, 500, 0.105, 0.0105, gen_random_uuid()::text);
