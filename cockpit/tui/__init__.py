"""The screen: panes over snapshots, keys over the registry of actions."""
