"""Access control: accounts, one-time links, sessions, API tokens, and guards of forms.

Secrets are in the data directory with mode 0600; of passwords and tokens there are hashes only.
"""
