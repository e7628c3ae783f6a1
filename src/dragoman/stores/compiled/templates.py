"""SQL text, compiled by `python -m dragoman.stores.statements`: do not edit."""

SQLITE_LIST_TEMPLATES = """\
SELECT templates.id, templates.project_id, templates."key", templates.active_version, templates.created_s, template_versions.version, template_versions.text, template_versions.arguments, template_versions.note, template_versions.created_s AS created_s_1 FROM templates JOIN template_versions ON templates.id = template_versions.template_id ORDER BY templates.created_s, templates.id, template_versions.version
"""
SQLITE_LIST_TEMPLATES_OF = """\
SELECT templates.id, templates.project_id, templates."key", templates.active_version, templates.created_s, template_versions.version, template_versions.text, template_versions.arguments, template_versions.note, template_versions.created_s AS created_s_1 FROM templates JOIN template_versions ON templates.id = template_versions.template_id WHERE templates.project_id = :project_id ORDER BY templates.created_s, templates.id, template_versions.version
"""
SQLITE_ADD_TEMPLATE = """\
INSERT INTO templates (id, project_id, "key", active_version, created_s) VALUES (:id, :project_id, :key, :active_version, :created_s)
"""
SQLITE_ADD_VERSION = """\
INSERT INTO template_versions (template_id, version, text, arguments, note, created_s) VALUES (:template_id, :version, :text, :arguments, :note, :created_s)
"""
SQLITE_FIND_VERSION = """\
SELECT template_versions.version FROM template_versions WHERE template_versions.template_id = :template_id AND template_versions.version = :version
"""
SQLITE_ACTIVATE = """\
UPDATE templates SET active_version=:version WHERE templates.id = :template_id
"""
SQLITE_DELETE_VERSIONS = """\
DELETE FROM template_versions WHERE template_versions.template_id = :template_id
"""
SQLITE_DELETE_TEMPLATE = """\
DELETE FROM templates WHERE templates.id = :template_id
"""
