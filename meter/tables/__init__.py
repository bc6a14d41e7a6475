"""All tables of `meter` in PostgreSQL: every use of asyncpg and every SQL statement."""
