"""SQL text, compiled by `python -m dragoman.stores.statements`: do not edit."""

SQLITE_LIST_ACCOUNTS = """\
SELECT accounts.id, accounts.name, accounts.plan_id, accounts.is_prepaid, accounts.monthly_limit_nano_usd, accounts.time_zone, accounts.alerts, accounts.created_s, accounts.suspended_s FROM accounts ORDER BY accounts.created_s, accounts.id
"""
SQLITE_ADD_ACCOUNT = """\
INSERT INTO accounts (id, name, plan_id, is_prepaid, monthly_limit_nano_usd, time_zone, alerts, created_s, suspended_s) VALUES (:id, :name, :plan_id, :is_prepaid, :monthly_limit_nano_usd, :time_zone, :alerts, :created_s, :suspended_s)
"""
SQLITE_ADD_BALANCE = """\
INSERT INTO balances (account_id, free, is_exact, month, month_spent) VALUES (:account_id, :free, :is_exact, :month, :month_spent)
"""
SQLITE_REPLACE_ACCOUNT = """\
UPDATE accounts SET name=:name, plan_id=:plan_id, is_prepaid=:is_prepaid, monthly_limit_nano_usd=:monthly_limit_nano_usd, time_zone=:time_zone, alerts=:alerts, created_s=:created_s, suspended_s=:suspended_s WHERE accounts.id = :account_id
"""
SQLITE_LIST_PLANS = """\
SELECT plans.id, plans.name, plans.requests_per_minute, plans.tokens_per_minute, plans.concurrent_requests, plans.models, plans.created_s FROM plans ORDER BY plans.created_s, plans.id
"""
SQLITE_PUT_PLAN = """\
INSERT INTO plans (id, name, requests_per_minute, tokens_per_minute, concurrent_requests, models, created_s) VALUES (:id, :name, :requests_per_minute, :tokens_per_minute, :concurrent_requests, :models, :created_s) ON CONFLICT (id) DO UPDATE SET name = excluded.name, requests_per_minute = excluded.requests_per_minute, tokens_per_minute = excluded.tokens_per_minute, concurrent_requests = excluded.concurrent_requests, models = excluded.models, created_s = excluded.created_s
"""
SQLITE_DELETE_PLAN = """\
DELETE FROM plans WHERE plans.id = :plan_id
"""
SQLITE_LIST_MEMBERS = """\
SELECT members.id, members.account_id, members.email, members.role, members.created_s FROM members WHERE members.account_id = :account_id ORDER BY members.created_s, members.id
"""
SQLITE_PUT_MEMBER = """\
INSERT INTO members (id, account_id, email, role, created_s) VALUES (:id, :account_id, :email, :role, :created_s) ON CONFLICT (id) DO UPDATE SET account_id = excluded.account_id, email = excluded.email, role = excluded.role, created_s = excluded.created_s
"""
SQLITE_DELETE_MEMBER = """\
DELETE FROM members WHERE members.id = :member_id
"""
