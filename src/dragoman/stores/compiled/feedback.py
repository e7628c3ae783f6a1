"""SQL text, compiled by `python -m dragoman.stores.statements`: do not edit."""

SQLITE_ADD_FEEDBACK = """\
INSERT INTO feedback (id, project_id, completion_id, metric_id, value, reason, details, end_user, created_s) VALUES (:id, :project_id, :completion_id, :metric_id, :value, :reason, :details, :end_user, :created_s)
"""
SQLITE_ADD_COMPARISON = """\
INSERT INTO comparisons (id, project_id, metric_id, preferred_id, other_id, tied, end_user, created_s) VALUES (:id, :project_id, :metric_id, :preferred_id, :other_id, :tied, :end_user, :created_s)
"""
SQLITE_ADD_OUTCOME = """\
INSERT INTO outcomes (id, project_id, session_id, metric_id, value, end_user, created_s) VALUES (:id, :project_id, :session_id, :metric_id, :value, :end_user, :created_s)
"""
SQLITE_LIST_COMPARISONS = """\
SELECT comparisons.sequence, comparisons.id, comparisons.project_id, comparisons.metric_id, comparisons.preferred_id, comparisons.other_id, comparisons.tied, comparisons.end_user, comparisons.created_s FROM comparisons WHERE comparisons.project_id = :project_id ORDER BY comparisons.created_s DESC, comparisons.sequence DESC
"""
SQLITE_LIST_COMPARISONS_OF = """\
SELECT comparisons.sequence, comparisons.id, comparisons.project_id, comparisons.metric_id, comparisons.preferred_id, comparisons.other_id, comparisons.tied, comparisons.end_user, comparisons.created_s FROM comparisons WHERE comparisons.project_id = :project_id AND (comparisons.preferred_id = :completion_id OR comparisons.other_id = :completion_id) ORDER BY comparisons.created_s DESC, comparisons.sequence DESC
"""
SQLITE_LIST_OUTCOMES = """\
SELECT outcomes.sequence, outcomes.id, outcomes.project_id, outcomes.session_id, outcomes.metric_id, outcomes.value, outcomes.end_user, outcomes.created_s FROM outcomes WHERE outcomes.project_id = :project_id ORDER BY outcomes.created_s DESC, outcomes.sequence DESC
"""
SQLITE_LIST_OUTCOMES_OF = """\
SELECT outcomes.sequence, outcomes.id, outcomes.project_id, outcomes.session_id, outcomes.metric_id, outcomes.value, outcomes.end_user, outcomes.created_s FROM outcomes WHERE outcomes.project_id = :project_id AND outcomes.session_id = :session_id ORDER BY outcomes.created_s DESC, outcomes.sequence DESC
"""
