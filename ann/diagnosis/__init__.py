"""Vectors examined before they are indexed: what is wrong, and what near means."""

from ann.diagnosis.examination import audit
from ann.diagnosis.finding import Finding, Recommendation
from ann.diagnosis.letter import Diagnosis
from ann.diagnosis.rules import CODES

__all__ = ["CODES", "Diagnosis", "Finding", "Recommendation", "audit"]
