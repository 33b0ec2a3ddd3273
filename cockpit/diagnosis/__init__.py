"""Snapshot -> findings: pure rules, one family of causes a file; the first family that knows the cause of a trouble names it."""

from cockpit.diagnosis.offers import offer_of, restored_as
from cockpit.diagnosis.ranks import end_in_words
from cockpit.diagnosis.troubles import finding_of

__all__ = ["end_in_words", "finding_of", "offer_of", "restored_as"]
