-- Roles belong to the whole server; several ledgers on one server share them.
DO $$
BEGIN
    CREATE ROLE kashi_owner NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END $$;
DO $$
BEGIN
    CREATE ROLE kashi_service NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END $$;
-- Whoever sets the ledger up must be able to act as both.
GRANT kashi_owner, kashi_service TO CURRENT_USER;
