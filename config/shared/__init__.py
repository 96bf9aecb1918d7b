"""What several rooms share and is no setting, fleet file or profile: the loader of plug-ins, translations, SQLite files."""
