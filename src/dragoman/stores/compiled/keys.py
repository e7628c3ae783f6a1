"""SQL text, compiled by `python -m dragoman.stores.statements`: do not edit."""

SQLITE_LIST_KEYS = """\
SELECT keys.id, keys.name, keys.hash, keys.hint, keys.created_s, keys.revoked_s, keys.kind, keys.account_id, keys.project, keys.expires_s, keys.last_used_s, keys.scopes, keys.requests_per_minute, keys.tokens_per_minute, keys.concurrent_requests, keys.replaces, keys.creation_token FROM keys ORDER BY keys.created_s, keys.id
"""
SQLITE_ADD_KEY = """\
INSERT INTO keys (id, name, hash, hint, created_s, revoked_s, kind, account_id, project, expires_s, last_used_s, scopes, requests_per_minute, tokens_per_minute, concurrent_requests, replaces, creation_token) VALUES (:id, :name, :hash, :hint, :created_s, :revoked_s, :kind, :account_id, :project, :expires_s, :last_used_s, :scopes, :requests_per_minute, :tokens_per_minute, :concurrent_requests, :replaces, :creation_token)
"""
SQLITE_REVOKE_KEY = """\
UPDATE keys SET revoked_s=:at_s WHERE keys.id = :key_id AND keys.revoked_s IS NULL
"""
SQLITE_REPLACE_KEY = """\
UPDATE keys SET name=:name, hint=:hint, created_s=:created_s, revoked_s=:revoked_s, kind=:kind, account_id=:account_id, project=:project, expires_s=:expires_s, last_used_s=:last_used_s, scopes=:scopes, requests_per_minute=:requests_per_minute, tokens_per_minute=:tokens_per_minute, concurrent_requests=:concurrent_requests, replaces=:replaces, creation_token=:creation_token WHERE keys.id = :key_id
"""
SQLITE_TOUCH_KEY = """\
UPDATE keys SET last_used_s=:at_s WHERE keys.id = :key_id
"""
