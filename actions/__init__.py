"""The verbs: one file each; `actions.core` is the engine they share."""
