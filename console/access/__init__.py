"""Who may see and do what: accounts, one-time links, sessions, API tokens, and the guards of forms.

Secrets live in the data directory with mode 0600; only hashes of what people and programs carry are kept on our side.
"""
