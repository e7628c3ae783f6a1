"""SQL text, compiled by `python -m dragoman.stores.statements`: do not edit."""

SQLITE_LIST_PROJECTS = """\
SELECT projects.id, projects."key", projects.name, projects.account_id, projects.models, projects.default_model, projects.public, projects.content, projects.rights, projects.applied, projects.created_s, projects.archived_s FROM projects ORDER BY projects.created_s, projects.id
"""
SQLITE_ADD_PROJECT = """\
INSERT INTO projects (id, "key", name, account_id, models, default_model, public, content, rights, applied, created_s, archived_s) VALUES (:id, :key, :name, :account_id, :models, :default_model, :public, :content, :rights, :applied, :created_s, :archived_s)
"""
SQLITE_REPLACE_PROJECT = """\
UPDATE projects SET "key"=:key, name=:name, account_id=:account_id, models=:models, default_model=:default_model, public=:public, content=:content, rights=:rights, applied=:applied, created_s=:created_s, archived_s=:archived_s WHERE projects.id = :project_id
"""
