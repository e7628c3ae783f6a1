"""Campaigns: who meets which arm, what the scores say, and when that is enough."""
