"""SQL text, compiled by `python -m dragoman.stores.statements`: do not edit."""

SQLITE_LIST_METRICS = """\
SELECT metrics.id, metrics.project_id, metrics."key", metrics.name, metrics.kind, metrics.better, metrics.description, metrics.created_s FROM metrics ORDER BY metrics.created_s, metrics.id
"""
SQLITE_LIST_METRICS_OF = """\
SELECT metrics.id, metrics.project_id, metrics."key", metrics.name, metrics.kind, metrics.better, metrics.description, metrics.created_s FROM metrics WHERE metrics.project_id = :project_id ORDER BY metrics.created_s, metrics.id
"""
SQLITE_ADD_METRIC = """\
INSERT INTO metrics (id, project_id, "key", name, kind, better, description, created_s) VALUES (:id, :project_id, :key, :name, :kind, :better, :description, :created_s)
"""
SQLITE_REPLACE_METRIC = """\
UPDATE metrics SET project_id=:project_id, "key"=:key, name=:name, kind=:kind, better=:better, description=:description, created_s=:created_s WHERE metrics.id = :metric_id
"""
SQLITE_CAMPAIGNS_OF_METRIC = """\
SELECT campaigns."key" FROM campaigns WHERE campaigns.metric_id = :metric_id ORDER BY campaigns.created_s
"""
SQLITE_FEEDBACK_OF_METRIC = """\
SELECT 1 WHERE (EXISTS (SELECT feedback.sequence FROM feedback WHERE feedback.metric_id = :metric_id)) OR (EXISTS (SELECT comparisons.sequence FROM comparisons WHERE comparisons.metric_id = :metric_id)) OR (EXISTS (SELECT outcomes.sequence FROM outcomes WHERE outcomes.metric_id = :metric_id))
"""
SQLITE_DELETE_METRIC = """\
DELETE FROM metrics WHERE metrics.id = :metric_id
"""
