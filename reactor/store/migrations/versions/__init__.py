"""Migrations, one file each. A released one is never changed."""
