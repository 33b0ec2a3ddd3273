"""The outside world: each third-party client library has exactly one owner file here."""
