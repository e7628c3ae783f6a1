"""A request's whole life, and the tab that is kept of it."""

from dragoman.pipeline.answering import Answer, Pipeline
from dragoman.pipeline.plan import Plan
from dragoman.pipeline.tab import Arrival, Books, Tab, WhyLeft
from dragoman.policy.charging import InputCount

__all__ = ["Answer", "Arrival", "Books", "InputCount", "Pipeline", "Plan", "Tab", "WhyLeft"]
