"""The tables, for every database alike. A change here needs a migration in `migrations/versions`.

Money is integer nano-USD. Times are seconds since the epoch, days are days since the epoch (UTC),
months are numbers like 202611. JSON is text.
"""

from __future__ import annotations

from dragoman.stores.schema.account_tables import (
    accounts,
    audit_events,
    keys,
    members,
    plans,
    prices,
    server_values,
)
from dragoman.stores.schema.campaign_tables import (
    IS_ACTIVE,
    campaign_arms,
    campaign_guards,
    campaign_pair_units,
    campaign_pairs,
    campaign_units,
    campaigns,
)
from dragoman.stores.schema.columns import metadata
from dragoman.stores.schema.interaction_tables import (
    WORD_INDEX_OF_SQLITE,
    comparisons,
    feedback,
    interaction_contents,
    interaction_terms,
    interactions,
    outcomes,
)
from dragoman.stores.schema.money_tables import balances, leases, ledger, workers
from dragoman.stores.schema.outbox_tables import alerts, idempotency
from dragoman.stores.schema.project_tables import (
    metrics,
    projects,
    template_versions,
    templates,
    tool_servers,
)
from dragoman.stores.schema.usage_tables import usage_days, usage_labels, usage_records

__all__ = [
    "IS_ACTIVE",
    "WORD_INDEX_OF_SQLITE",
    "accounts",
    "alerts",
    "audit_events",
    "balances",
    "campaign_arms",
    "campaign_guards",
    "campaign_pair_units",
    "campaign_pairs",
    "campaign_units",
    "campaigns",
    "comparisons",
    "feedback",
    "idempotency",
    "interaction_contents",
    "interaction_terms",
    "interactions",
    "keys",
    "leases",
    "ledger",
    "members",
    "metadata",
    "metrics",
    "outcomes",
    "plans",
    "prices",
    "projects",
    "server_values",
    "template_versions",
    "templates",
    "tool_servers",
    "usage_days",
    "usage_labels",
    "usage_records",
    "workers",
]
