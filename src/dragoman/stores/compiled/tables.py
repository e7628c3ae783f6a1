"""SQL text, compiled by `python -m dragoman.stores.statements`: do not edit."""

SQLITE_TABLES = (
    """\
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))
""",
    """\
CREATE TABLE alerts ( sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, account_id VARCHAR(40) NOT NULL, occasion VARCHAR(200) NOT NULL, payload TEXT NOT NULL, created_s DOUBLE NOT NULL, attempts INTEGER NOT NULL, next_attempt_s DOUBLE, delivered_s DOUBLE, last_error VARCHAR(500), CONSTRAINT uq_alerts_account_id_occasion UNIQUE (account_id, occasion) )
""",
    """\
CREATE TABLE audit_events ( sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, at_s DOUBLE NOT NULL, actor VARCHAR(200) NOT NULL, action VARCHAR(64) NOT NULL, subject VARCHAR(200) NOT NULL, detail TEXT NOT NULL )
""",
    """\
CREATE INDEX ix_audit_events_subject ON audit_events (subject, sequence)
""",
    """\
CREATE TABLE balances ( account_id VARCHAR(40) NOT NULL, free BIGINT NOT NULL, is_exact BOOLEAN NOT NULL, month INTEGER NOT NULL, month_spent BIGINT NOT NULL, CONSTRAINT pk_balances PRIMARY KEY (account_id), CONSTRAINT ck_balances_free_not_negative CHECK (free >= 0) )
""",
    """\
CREATE TABLE campaign_arms ( campaign_id VARCHAR(64) NOT NULL, arm VARCHAR(32) NOT NULL, units BIGINT NOT NULL, requests BIGINT NOT NULL, fallbacks BIGINT NOT NULL, scores_n BIGINT NOT NULL, scores_mean DOUBLE NOT NULL, scores_m2 DOUBLE NOT NULL, later_n BIGINT NOT NULL, later_mean DOUBLE NOT NULL, later_m2 DOUBLE NOT NULL, CONSTRAINT pk_campaign_arms PRIMARY KEY (campaign_id, arm) ) WITHOUT ROWID
""",
    """\
CREATE TABLE campaign_guards ( campaign_id VARCHAR(64) NOT NULL, arm VARCHAR(32) NOT NULL, measure VARCHAR(32) NOT NULL, n BIGINT NOT NULL, mean DOUBLE NOT NULL, m2 DOUBLE NOT NULL, CONSTRAINT pk_campaign_guards PRIMARY KEY (campaign_id, arm, measure) ) WITHOUT ROWID
""",
    """\
CREATE TABLE campaign_pair_units ( campaign_id VARCHAR(64) NOT NULL, unit VARCHAR(1300) NOT NULL, first_arm VARCHAR(32) NOT NULL, second_arm VARCHAR(32) NOT NULL, CONSTRAINT pk_campaign_pair_units PRIMARY KEY (campaign_id, unit, first_arm, second_arm) ) WITHOUT ROWID
""",
    """\
CREATE TABLE campaign_pairs ( campaign_id VARCHAR(64) NOT NULL, first_arm VARCHAR(32) NOT NULL, second_arm VARCHAR(32) NOT NULL, wins BIGINT NOT NULL, losses BIGINT NOT NULL, ties BIGINT NOT NULL, later BIGINT NOT NULL, CONSTRAINT pk_campaign_pairs PRIMARY KEY (campaign_id, first_arm, second_arm) ) WITHOUT ROWID
""",
    """\
CREATE TABLE campaign_units ( campaign_id VARCHAR(64) NOT NULL, unit VARCHAR(600) NOT NULL, is_entered BOOLEAN NOT NULL, is_scored BOOLEAN NOT NULL, has_errors BOOLEAN NOT NULL, has_cost BOOLEAN NOT NULL, has_first_token_ms BOOLEAN NOT NULL, CONSTRAINT pk_campaign_units PRIMARY KEY (campaign_id, unit) ) WITHOUT ROWID
""",
    """\
CREATE TABLE comparisons ( sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, id VARCHAR(64) NOT NULL, project_id VARCHAR(40) NOT NULL, metric_id VARCHAR(64) NOT NULL, preferred_id VARCHAR(64) NOT NULL, other_id VARCHAR(64) NOT NULL, tied VARCHAR(8), end_user VARCHAR(500), created_s DOUBLE NOT NULL, CONSTRAINT uq_comparisons_id UNIQUE (id) )
""",
    """\
CREATE INDEX ix_comparisons_metric ON comparisons (metric_id)
""",
    """\
CREATE INDEX ix_comparisons_other ON comparisons (other_id)
""",
    """\
CREATE INDEX ix_comparisons_preferred ON comparisons (preferred_id)
""",
    """\
CREATE INDEX ix_comparisons_project ON comparisons (project_id, created_s)
""",
    """\
CREATE INDEX ix_comparisons_user ON comparisons (end_user) WHERE end_user IS NOT NULL
""",
    """\
CREATE TABLE feedback ( sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, id VARCHAR(64) NOT NULL, project_id VARCHAR(40) NOT NULL, completion_id VARCHAR(64) NOT NULL, metric_id VARCHAR(64) NOT NULL, value DOUBLE NOT NULL, reason TEXT, details TEXT, end_user VARCHAR(500), created_s DOUBLE NOT NULL, CONSTRAINT uq_feedback_id UNIQUE (id) )
""",
    """\
CREATE INDEX ix_feedback_completion ON feedback (completion_id, metric_id)
""",
    """\
CREATE INDEX ix_feedback_metric ON feedback (metric_id)
""",
    """\
CREATE INDEX ix_feedback_user ON feedback (end_user) WHERE end_user IS NOT NULL
""",
    """\
CREATE TABLE idempotency ( key_id VARCHAR(40) NOT NULL, idempotency_key VARCHAR(255) NOT NULL, body_hash BLOB NOT NULL, request_id VARCHAR(64) NOT NULL, worker_id VARCHAR(40), answer BLOB, expires_s DOUBLE NOT NULL, CONSTRAINT pk_idempotency PRIMARY KEY (key_id, idempotency_key) )
""",
    """\
CREATE INDEX ix_idempotency_expires ON idempotency (expires_s)
""",
    """\
CREATE TABLE interaction_contents ( sequence INTEGER NOT NULL, content TEXT NOT NULL, CONSTRAINT pk_interaction_contents PRIMARY KEY (sequence) )
""",
    """\
CREATE TABLE interaction_terms ( term BIGINT NOT NULL, position BIGINT NOT NULL, CONSTRAINT pk_interaction_terms PRIMARY KEY (term, position) ) WITHOUT ROWID
""",
    """\
CREATE TABLE interactions ( sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, position BIGINT NOT NULL, completion_id VARCHAR(64) NOT NULL, request_id VARCHAR(64), choice INTEGER NOT NULL, source VARCHAR(16) NOT NULL, project_id VARCHAR(40) NOT NULL, account_id VARCHAR(40) NOT NULL, key_id VARCHAR(100), created_s DOUBLE NOT NULL, session_id VARCHAR(200) NOT NULL, end_user VARCHAR(500), attached VARCHAR(200), model VARCHAR(200), template_id VARCHAR(40), template_version INTEGER, labels TEXT, tags TEXT, campaign_id VARCHAR(64), unit VARCHAR(600), arm VARCHAR(32), served_arm VARCHAR(32), entered_by VARCHAR(16), status VARCHAR(16) NOT NULL, error VARCHAR(64), finish_reason VARCHAR(32), input_tokens BIGINT NOT NULL, cached_input_tokens BIGINT NOT NULL, cache_write_tokens BIGINT NOT NULL, output_tokens BIGINT NOT NULL, reasoning_tokens BIGINT NOT NULL, is_estimated BOOLEAN NOT NULL, cost BIGINT NOT NULL, first_token_ms DOUBLE, total_ms DOUBLE, CONSTRAINT uq_interactions_position UNIQUE (position), CONSTRAINT uq_interactions_completion_id UNIQUE (completion_id) )
""",
    """\
CREATE INDEX ix_interactions_of_campaigns ON interactions (sequence) WHERE campaign_id IS NOT NULL
""",
    """\
CREATE TABLE keys ( id VARCHAR(40) NOT NULL, name VARCHAR(200) NOT NULL, hash BLOB NOT NULL, hint VARCHAR(64) NOT NULL, created_s DOUBLE NOT NULL, revoked_s DOUBLE, kind VARCHAR(16) DEFAULT 'client' NOT NULL, account_id VARCHAR(40) DEFAULT 'acct_default' NOT NULL, project VARCHAR(200), expires_s DOUBLE, last_used_s DOUBLE, scopes TEXT DEFAULT '{}' NOT NULL, requests_per_minute BIGINT, tokens_per_minute BIGINT, concurrent_requests BIGINT, replaces VARCHAR(40), creation_token VARCHAR(200), CONSTRAINT pk_keys PRIMARY KEY (id), CONSTRAINT uq_keys_hash UNIQUE (hash) )
""",
    """\
CREATE UNIQUE INDEX ix_keys_creation ON keys (account_id, creation_token)
""",
    """\
CREATE TABLE leases ( worker_id VARCHAR(40) NOT NULL, account_id VARCHAR(40) NOT NULL, amount BIGINT NOT NULL, CONSTRAINT pk_leases PRIMARY KEY (worker_id, account_id), CONSTRAINT ck_leases_amount_not_negative CHECK (amount >= 0) )
""",
    """\
CREATE TABLE ledger ( sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, posted_s DOUBLE NOT NULL, kind VARCHAR(16) NOT NULL, account_id VARCHAR(40) NOT NULL, amount BIGINT NOT NULL, from_book VARCHAR(16) NOT NULL, to_book VARCHAR(16) NOT NULL, idempotency_key VARCHAR(300) NOT NULL, request_id VARCHAR(64), note VARCHAR(1000), CONSTRAINT ck_ledger_amount_positive CHECK (amount > 0), CONSTRAINT uq_ledger_idempotency_key UNIQUE (idempotency_key) )
""",
    """\
CREATE INDEX ix_ledger_account ON ledger (account_id, sequence)
""",
    """\
CREATE TABLE outcomes ( sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, id VARCHAR(64) NOT NULL, project_id VARCHAR(40) NOT NULL, session_id VARCHAR(200) NOT NULL, metric_id VARCHAR(64) NOT NULL, value DOUBLE NOT NULL, end_user VARCHAR(500), created_s DOUBLE NOT NULL, CONSTRAINT uq_outcomes_id UNIQUE (id) )
""",
    """\
CREATE INDEX ix_outcomes_metric ON outcomes (metric_id)
""",
    """\
CREATE INDEX ix_outcomes_project ON outcomes (project_id, created_s)
""",
    """\
CREATE INDEX ix_outcomes_session ON outcomes (session_id, created_s)
""",
    """\
CREATE INDEX ix_outcomes_user ON outcomes (end_user) WHERE end_user IS NOT NULL
""",
    """\
CREATE TABLE plans ( id VARCHAR(64) NOT NULL, name VARCHAR(200) NOT NULL, requests_per_minute BIGINT, tokens_per_minute BIGINT, concurrent_requests BIGINT, models TEXT, created_s DOUBLE NOT NULL, CONSTRAINT pk_plans PRIMARY KEY (id) )
""",
    """\
CREATE TABLE prices ( id VARCHAR(40) NOT NULL, model VARCHAR(200) NOT NULL, valid_from_s DOUBLE NOT NULL, source VARCHAR(16) NOT NULL, tiers TEXT NOT NULL, CONSTRAINT pk_prices PRIMARY KEY (id), CONSTRAINT uq_prices_model_valid_from_s UNIQUE (model, valid_from_s) )
""",
    """\
CREATE TABLE server_values ( name VARCHAR(64) NOT NULL, value BLOB NOT NULL, CONSTRAINT pk_server_values PRIMARY KEY (name) )
""",
    """\
CREATE TABLE tool_servers ( "key" VARCHAR(64) NOT NULL, kind VARCHAR(16) NOT NULL, url TEXT, command TEXT NOT NULL, environment TEXT NOT NULL, headers TEXT NOT NULL, tools TEXT NOT NULL, allow_private BOOLEAN NOT NULL, applied TEXT, created_s DOUBLE NOT NULL, disabled_s DOUBLE, CONSTRAINT pk_tool_servers PRIMARY KEY ("key") )
""",
    """\
CREATE TABLE usage_days ( day INTEGER NOT NULL, account_id VARCHAR(40) NOT NULL, key_id VARCHAR(40) NOT NULL, project VARCHAR(200) NOT NULL, model VARCHAR(200) NOT NULL, status VARCHAR(16) NOT NULL, requests BIGINT NOT NULL, input_tokens BIGINT NOT NULL, cached_input_tokens BIGINT NOT NULL, cache_write_tokens BIGINT NOT NULL, output_tokens BIGINT NOT NULL, reasoning_tokens BIGINT NOT NULL, cost BIGINT NOT NULL, estimated BIGINT NOT NULL, CONSTRAINT pk_usage_days PRIMARY KEY (day, model, account_id, key_id, project, status) ) WITHOUT ROWID
""",
    """\
CREATE TABLE usage_labels ( day INTEGER NOT NULL, account_id VARCHAR(40) NOT NULL, label VARCHAR(200) NOT NULL, value VARCHAR(500) NOT NULL, requests BIGINT NOT NULL, input_tokens BIGINT NOT NULL, cached_input_tokens BIGINT NOT NULL, cache_write_tokens BIGINT NOT NULL, output_tokens BIGINT NOT NULL, reasoning_tokens BIGINT NOT NULL, cost BIGINT NOT NULL, estimated BIGINT NOT NULL, CONSTRAINT pk_usage_labels PRIMARY KEY (day, account_id, label, value) ) WITHOUT ROWID
""",
    """\
CREATE TABLE usage_records ( sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, request_id VARCHAR(64) NOT NULL, account_id VARCHAR(40) NOT NULL, key_id VARCHAR(40) NOT NULL, project VARCHAR(200), dialect VARCHAR(16) NOT NULL, model_asked VARCHAR(200), model VARCHAR(200), provider VARCHAR(200), is_stream BOOLEAN NOT NULL, input_tokens BIGINT NOT NULL, cached_input_tokens BIGINT NOT NULL, cache_write_tokens BIGINT NOT NULL, output_tokens BIGINT NOT NULL, reasoning_tokens BIGINT NOT NULL, is_estimated BOOLEAN NOT NULL, cost BIGINT NOT NULL, hold BIGINT NOT NULL, price_id VARCHAR(40), started_s DOUBLE NOT NULL, queued_ms DOUBLE, first_token_ms DOUBLE, total_ms DOUBLE NOT NULL, status VARCHAR(16) NOT NULL, finish_reason VARCHAR(32), http_status INTEGER NOT NULL, error VARCHAR(64), session_id VARCHAR(200), end_user VARCHAR(500), labels TEXT, tags TEXT, attempts TEXT, CONSTRAINT uq_usage_records_request_id UNIQUE (request_id) )
""",
    """\
CREATE INDEX ix_usage_records_account ON usage_records (account_id, started_s)
""",
    """\
CREATE INDEX ix_usage_records_key ON usage_records (key_id, started_s)
""",
    """\
CREATE INDEX ix_usage_records_started ON usage_records (started_s)
""",
    """\
CREATE TABLE workers ( id VARCHAR(40) NOT NULL, started_s DOUBLE NOT NULL, host VARCHAR(255) NOT NULL, pid INTEGER NOT NULL, CONSTRAINT pk_workers PRIMARY KEY (id) )
""",
    """\
CREATE TABLE accounts ( id VARCHAR(40) NOT NULL, name VARCHAR(200) NOT NULL, plan_id VARCHAR(64), is_prepaid BOOLEAN NOT NULL, monthly_limit_nano_usd BIGINT, time_zone VARCHAR(64) NOT NULL, alerts TEXT NOT NULL, created_s DOUBLE NOT NULL, suspended_s DOUBLE, CONSTRAINT pk_accounts PRIMARY KEY (id), CONSTRAINT uq_accounts_name UNIQUE (name), CONSTRAINT fk_accounts_plan_id FOREIGN KEY(plan_id) REFERENCES plans (id) )
""",
    """\
CREATE TABLE members ( id VARCHAR(40) NOT NULL, account_id VARCHAR(40) NOT NULL, email VARCHAR(320) NOT NULL, role VARCHAR(16) NOT NULL, created_s DOUBLE NOT NULL, CONSTRAINT pk_members PRIMARY KEY (id), CONSTRAINT uq_members_account_id_email UNIQUE (account_id, email), CONSTRAINT fk_members_account_id FOREIGN KEY(account_id) REFERENCES accounts (id) )
""",
    """\
CREATE TABLE projects ( id VARCHAR(40) NOT NULL, "key" VARCHAR(64) NOT NULL, name VARCHAR(200) NOT NULL, account_id VARCHAR(40) NOT NULL, models TEXT NOT NULL, default_model VARCHAR(200), public TEXT, content TEXT NOT NULL, rights TEXT NOT NULL, applied TEXT, created_s DOUBLE NOT NULL, archived_s DOUBLE, CONSTRAINT pk_projects PRIMARY KEY (id), CONSTRAINT uq_projects_key UNIQUE ("key"), CONSTRAINT fk_projects_account_id FOREIGN KEY(account_id) REFERENCES accounts (id) )
""",
    """\
CREATE TABLE campaigns ( id VARCHAR(64) NOT NULL, project_id VARCHAR(40) NOT NULL, "key" VARCHAR(64) NOT NULL, name VARCHAR(200) NOT NULL, metric_id VARCHAR(64) NOT NULL, kind VARCHAR(16) NOT NULL, arms TEXT NOT NULL, traffic_split DOUBLE NOT NULL, auto_deploy BOOLEAN NOT NULL, alpha DOUBLE NOT NULL, guard_alpha DOUBLE NOT NULL, min_scores INTEGER NOT NULL, mixture_variance DOUBLE NOT NULL, guardrails TEXT NOT NULL, status VARCHAR(16) NOT NULL, created_s DOUBLE NOT NULL, ended_s DOUBLE, end_reason TEXT, winner VARCHAR(32), deployed_s DOUBLE, least_p TEXT NOT NULL, CONSTRAINT pk_campaigns PRIMARY KEY (id), CONSTRAINT uq_campaigns_project_id_key UNIQUE (project_id, "key"), CONSTRAINT fk_campaigns_project_id FOREIGN KEY(project_id) REFERENCES projects (id) )
""",
    """\
CREATE UNIQUE INDEX ix_campaigns_active ON campaigns (project_id) WHERE status IN ('WARMUP', 'IN_PROGRESS')
""",
    """\
CREATE INDEX ix_campaigns_metric ON campaigns (metric_id)
""",
    """\
CREATE TABLE metrics ( id VARCHAR(64) NOT NULL, project_id VARCHAR(40) NOT NULL, "key" VARCHAR(64) NOT NULL, name VARCHAR(200) NOT NULL, kind VARCHAR(16) NOT NULL, better VARCHAR(32) NOT NULL, description TEXT, created_s DOUBLE NOT NULL, CONSTRAINT pk_metrics PRIMARY KEY (id), CONSTRAINT uq_metrics_project_id_key UNIQUE (project_id, "key"), CONSTRAINT fk_metrics_project_id FOREIGN KEY(project_id) REFERENCES projects (id) )
""",
    """\
CREATE TABLE templates ( id VARCHAR(40) NOT NULL, project_id VARCHAR(40) NOT NULL, "key" VARCHAR(64) NOT NULL, active_version INTEGER NOT NULL, created_s DOUBLE NOT NULL, CONSTRAINT pk_templates PRIMARY KEY (id), CONSTRAINT uq_templates_project_id_key UNIQUE (project_id, "key"), CONSTRAINT fk_templates_project_id FOREIGN KEY(project_id) REFERENCES projects (id) )
""",
    """\
CREATE TABLE template_versions ( template_id VARCHAR(40) NOT NULL, version INTEGER NOT NULL, text TEXT NOT NULL, arguments TEXT NOT NULL, note TEXT, created_s DOUBLE NOT NULL, CONSTRAINT pk_template_versions PRIMARY KEY (template_id, version), CONSTRAINT fk_template_versions_template_id FOREIGN KEY(template_id) REFERENCES templates (id) )
""",
    """\
CREATE VIRTUAL TABLE interaction_words USING fts5(words, detail=none, columnsize=0, tokenize='ascii')
""",
)
