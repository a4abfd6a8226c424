"""What several gateways share: SQLAlchemy Core over SQLite or PostgreSQL, imported only where a store is configured.

``schema.py`` has the tables, ``migration/`` how they came to be. Nothing here is on the way of a request.
"""
