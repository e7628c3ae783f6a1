"""SQL text, compiled by `python -m dragoman.stores.statements`: do not edit."""

SQLITE_READ_VALUE = """\
SELECT server_values.value FROM server_values WHERE server_values.name = :name
"""
SQLITE_ADD_VALUE = """\
INSERT INTO server_values (name, value) VALUES (:name, :value) ON CONFLICT DO NOTHING
"""
SQLITE_PUT_VALUE = """\
INSERT INTO server_values (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = excluded.value
"""
