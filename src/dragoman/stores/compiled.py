"""SQL text, compiled from `statements` by `python -m dragoman.stores.statements`: do not edit."""

SQLITE_TABLES = (
    """\
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))
""",
    """\
CREATE TABLE keys ( id VARCHAR(40) NOT NULL, name VARCHAR(200) NOT NULL, hash BLOB NOT NULL, hint VARCHAR(64) NOT NULL, created_s DOUBLE NOT NULL, revoked_s DOUBLE, CONSTRAINT pk_keys PRIMARY KEY (id), CONSTRAINT uq_keys_hash UNIQUE (hash) )
""",
)
SQLITE_LIST_KEYS = """\
SELECT keys.id, keys.name, keys.hash, keys.hint, keys.created_s, keys.revoked_s FROM keys ORDER BY keys.created_s, keys.id
"""
SQLITE_ADD_KEY = """\
INSERT INTO keys (id, name, hash, hint, created_s, revoked_s) VALUES (:id, :name, :hash, :hint, :created_s, :revoked_s)
"""
SQLITE_REVOKE_KEY = """\
UPDATE keys SET revoked_s=:at_s WHERE keys.id = :key_id AND keys.revoked_s IS NULL
"""
