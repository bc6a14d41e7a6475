-- The roles of one ledger, and who may enter its database; only what is missing is made.
--
-- Roles belong to the whole server, so the names of these hold a digest of the ledger's origin: a
-- login of another ledger is a member of neither.
--   owner    owns the tables, and cannot log in
--   service  may read and append, and cannot log in
--   setup    the login that makes the ledger: a member of both
--   serving  the login that serves it: a member of the service's role alone
DO $roles$
DECLARE
    here name := current_database();
    member text := CASE WHEN current_setting('server_version_num')::int >= 160000
        THEN 'SET' ELSE 'MEMBER' END;
BEGIN
    IF to_regrole(:'owner') IS NULL THEN
        CREATE ROLE :"owner" NOLOGIN;
    END IF;
    IF to_regrole(:'service') IS NULL THEN
        CREATE ROLE :"service" NOLOGIN;
    END IF;
    IF NOT pg_has_role(:'setup', :'owner', member) THEN
        GRANT :"owner" TO :"setup";
    END IF;
    IF NOT pg_has_role(:'setup', :'service', member) THEN
        GRANT :"service" TO :"setup";
    END IF;
    IF NOT pg_has_role(:'serving', :'service', member) THEN
        GRANT :"service" TO :"serving";
    END IF;
    IF NOT has_database_privilege(:'owner', here, 'CREATE') THEN
        EXECUTE format('GRANT CREATE ON DATABASE %I TO %I', here, :'owner');
    END IF;
    IF has_database_privilege('public', here, 'CONNECT') THEN
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I, %I', here, :'owner', :'service');
        EXECUTE format('REVOKE CONNECT ON DATABASE %I FROM PUBLIC', here);
    END IF;
END $roles$;
