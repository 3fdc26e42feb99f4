-- Makes a plain Postgres (15 to 17) look like a Supabase project: its roles, schemas, functions, policies, event
-- triggers and settings. Read by psql as a superuser, at every start: what is there already is left, or set anew.
--
--   database         the project's database; it must exist                        trading
--   migration_role   who is what `postgres` is at Supabase                        hosted
--   application_role who owns the workload's tables; made here where it is missing trading_app
--   subscriptions    on: the migration role may make subscriptions, where the server has that right (16 and later)
--   sample           on: a table of the application with row-level security, in schema public
--
-- Roles get no password here: whoever mounts this gives one to those that are to connect.
-- Left out: supautils, with which Supabase lends `postgres` a superuser's right for some statements. So what works
-- here works there, and not always the other way round. The extensions are those that come with Postgres.
\set ON_ERROR_STOP on
\if :{?database}         \else \set database trading             \endif
\if :{?migration_role}   \else \set migration_role hosted        \endif
\if :{?application_role} \else \set application_role trading_app \endif
\if :{?subscriptions}    \else \set subscriptions on             \endif
\if :{?sample}           \else \set sample on                    \endif
\connect :"database"
SET client_min_messages = warning;
-- The defaults that this file sets are for the others.
SET statement_timeout = 0;
SET search_path = public;

-- Roles. What CREATE cannot do twice, ALTER does each time.
SELECT format('CREATE ROLE %I', name)
  FROM unnest(ARRAY['supabase_admin', 'anon', 'authenticated', 'service_role', 'authenticator', 'dashboard_user',
                    'supabase_auth_admin', 'supabase_storage_admin', 'supabase_realtime_admin', 'pgbouncer',
                    'supabase_replication_admin', 'supabase_read_only_user', :'migration_role',
                    :'application_role']) AS wanted(name)
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec
ALTER ROLE supabase_admin SUPERUSER LOGIN CREATEDB CREATEROLE REPLICATION BYPASSRLS;
ALTER ROLE service_role NOLOGIN BYPASSRLS;
ALTER ROLE authenticator LOGIN NOINHERIT;
ALTER ROLE dashboard_user NOLOGIN CREATEDB CREATEROLE REPLICATION;
ALTER ROLE supabase_auth_admin LOGIN NOINHERIT CREATEROLE;
ALTER ROLE supabase_storage_admin LOGIN NOINHERIT CREATEROLE;
ALTER ROLE supabase_realtime_admin NOLOGIN NOINHERIT;
ALTER ROLE pgbouncer LOGIN;
ALTER ROLE supabase_replication_admin LOGIN REPLICATION;
ALTER ROLE supabase_read_only_user LOGIN BYPASSRLS;
ALTER ROLE :"migration_role" LOGIN NOSUPERUSER INHERIT CREATEDB CREATEROLE REPLICATION BYPASSRLS;
ALTER ROLE :"application_role" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;

ALTER ROLE anon SET statement_timeout = '3s';
ALTER ROLE authenticated SET statement_timeout = '8s';
ALTER ROLE authenticator SET statement_timeout = '8s';
ALTER ROLE authenticator SET lock_timeout = '8s';
ALTER ROLE supabase_read_only_user SET default_transaction_read_only = on;
ALTER ROLE supabase_auth_admin SET search_path = auth;
ALTER ROLE supabase_storage_admin SET search_path = storage;
ALTER ROLE :"migration_role" SET search_path = "$user", public, extensions;

GRANT anon, authenticated, service_role TO authenticator;
GRANT anon, authenticated, service_role, authenticator, pg_monitor, pg_read_all_data, pg_signal_backend
   TO :"migration_role" WITH ADMIN OPTION;
GRANT supabase_realtime_admin TO :"migration_role";
-- Who made a role there is made a member of it by hand; owning through it is what moving its tables needs.
GRANT :"application_role" TO :"migration_role";
GRANT pg_read_all_data TO supabase_read_only_user;
SELECT format(CASE WHEN :'subscriptions'::boolean THEN 'GRANT pg_create_subscription TO %I WITH ADMIN OPTION'
                   ELSE 'REVOKE pg_create_subscription FROM %I' END, :'migration_role')
 WHERE EXISTS (SELECT FROM pg_roles WHERE rolname = 'pg_create_subscription') \gexec
GRANT SET ON PARAMETER session_replication_role, track_io_timing TO :"migration_role";
GRANT EXECUTE ON FUNCTION pg_catalog.pg_reload_conf() TO :"migration_role";

-- The database. Its two defaults are the ones that break those who count on others: statements end after two
-- minutes, and text forms of floats are rounded.
GRANT ALL ON DATABASE :"database" TO :"migration_role";
GRANT CONNECT, TEMPORARY ON DATABASE :"database" TO PUBLIC;
ALTER DATABASE :"database" SET statement_timeout = '2min';
ALTER DATABASE :"database" SET extra_float_digits = 0;
ALTER DATABASE :"database" SET timezone = 'UTC';
GRANT ALL ON SCHEMA public TO :"migration_role";
GRANT USAGE ON SCHEMA public TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE :"migration_role" IN SCHEMA public
  GRANT ALL ON TABLES TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE :"migration_role" IN SCHEMA public
  GRANT ALL ON SEQUENCES TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE :"migration_role" IN SCHEMA public
  GRANT ALL ON FUNCTIONS TO anon, authenticated, service_role;

-- Schemas of the platform. The migration role may use them and owns nothing in them.
CREATE SCHEMA IF NOT EXISTS auth AUTHORIZATION supabase_auth_admin;
CREATE SCHEMA IF NOT EXISTS storage AUTHORIZATION supabase_storage_admin;
CREATE SCHEMA IF NOT EXISTS extensions AUTHORIZATION :"migration_role";
CREATE SCHEMA IF NOT EXISTS realtime AUTHORIZATION supabase_admin;
CREATE SCHEMA IF NOT EXISTS vault AUTHORIZATION supabase_admin;
CREATE SCHEMA IF NOT EXISTS graphql AUTHORIZATION supabase_admin;
CREATE SCHEMA IF NOT EXISTS graphql_public AUTHORIZATION supabase_admin;
CREATE SCHEMA IF NOT EXISTS pgbouncer AUTHORIZATION pgbouncer;

SELECT format('CREATE EXTENSION %I SCHEMA extensions', name)
  FROM pg_available_extensions
 WHERE name IN ('pgcrypto', 'uuid-ossp', 'pg_stat_statements') AND installed_version IS NULL \gexec
GRANT USAGE ON SCHEMA extensions TO PUBLIC;

CREATE TABLE IF NOT EXISTS auth.users (
  instance_id uuid,
  id uuid PRIMARY KEY,
  aud varchar(255),
  role varchar(255),
  email varchar(255) UNIQUE,
  encrypted_password varchar(255),
  raw_app_meta_data jsonb,
  raw_user_meta_data jsonb,
  is_super_admin boolean,
  created_at timestamptz,
  updated_at timestamptz
);
CREATE TABLE IF NOT EXISTS auth.refresh_tokens (
  instance_id uuid,
  id bigserial PRIMARY KEY,
  token varchar(255),
  user_id varchar(255),
  revoked boolean,
  created_at timestamptz,
  updated_at timestamptz
);
CREATE TABLE IF NOT EXISTS auth.audit_log_entries (
  instance_id uuid, id uuid PRIMARY KEY, payload json, created_at timestamptz
);
CREATE TABLE IF NOT EXISTS auth.schema_migrations (version varchar(255) PRIMARY KEY);
CREATE OR REPLACE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE
    AS $$ SELECT nullif(current_setting('request.jwt.claim.sub', true), '')::uuid $$;
CREATE OR REPLACE FUNCTION auth.role() RETURNS text LANGUAGE sql STABLE
    AS $$ SELECT nullif(current_setting('request.jwt.claim.role', true), '')::text $$;
CREATE OR REPLACE FUNCTION auth.email() RETURNS text LANGUAGE sql STABLE
    AS $$ SELECT nullif(current_setting('request.jwt.claim.email', true), '')::text $$;
ALTER TABLE auth.users OWNER TO supabase_auth_admin;
ALTER TABLE auth.refresh_tokens OWNER TO supabase_auth_admin;
ALTER TABLE auth.audit_log_entries OWNER TO supabase_auth_admin;
ALTER TABLE auth.schema_migrations OWNER TO supabase_auth_admin;
ALTER FUNCTION auth.uid() OWNER TO supabase_auth_admin;
ALTER FUNCTION auth.role() OWNER TO supabase_auth_admin;
ALTER FUNCTION auth.email() OWNER TO supabase_auth_admin;
GRANT USAGE ON SCHEMA auth TO anon, authenticated, service_role, :"migration_role", supabase_storage_admin;
GRANT ALL ON ALL TABLES IN SCHEMA auth TO dashboard_user, :"migration_role";
GRANT ALL ON ALL SEQUENCES IN SCHEMA auth TO dashboard_user, :"migration_role";
GRANT REFERENCES ON auth.users TO supabase_storage_admin;

CREATE TABLE IF NOT EXISTS storage.buckets (
  id text PRIMARY KEY,
  name text NOT NULL UNIQUE,
  owner uuid REFERENCES auth.users (id),
  public boolean DEFAULT false,
  created_at timestamptz DEFAULT now(),
  updated_at timestamptz DEFAULT now()
);
CREATE TABLE IF NOT EXISTS storage.objects (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  bucket_id text REFERENCES storage.buckets (id),
  name text,
  owner uuid,
  created_at timestamptz DEFAULT now(),
  updated_at timestamptz DEFAULT now(),
  metadata jsonb,
  path_tokens text[] GENERATED ALWAYS AS (string_to_array(name, '/')) STORED,
  UNIQUE (bucket_id, name)
);
CREATE TABLE IF NOT EXISTS storage.migrations (
  id integer PRIMARY KEY, name varchar(100) UNIQUE NOT NULL, hash varchar(40) NOT NULL,
  executed_at timestamp DEFAULT current_timestamp
);
ALTER TABLE storage.buckets OWNER TO supabase_storage_admin;
ALTER TABLE storage.objects OWNER TO supabase_storage_admin;
ALTER TABLE storage.migrations OWNER TO supabase_storage_admin;
ALTER TABLE storage.buckets ENABLE ROW LEVEL SECURITY;
ALTER TABLE storage.objects ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS "Owners read their objects" ON storage.objects;
CREATE POLICY "Owners read their objects" ON storage.objects FOR SELECT TO authenticated
  USING (owner = (SELECT auth.uid()));
GRANT USAGE ON SCHEMA storage TO anon, authenticated, service_role;
GRANT ALL ON SCHEMA storage TO :"migration_role" WITH GRANT OPTION;
GRANT ALL ON storage.buckets, storage.objects TO anon, authenticated, service_role;
GRANT ALL ON storage.buckets, storage.objects TO :"migration_role" WITH GRANT OPTION;

CREATE TABLE IF NOT EXISTS realtime.subscription (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  subscription_id uuid NOT NULL,
  entity regclass NOT NULL,
  claims jsonb NOT NULL,
  created_at timestamp NOT NULL DEFAULT timezone('utc', now())
);
ALTER TABLE realtime.subscription OWNER TO supabase_admin;
-- Owned by a role that the migration role is a member of: rights alone do not make a table the application's.
CREATE TABLE IF NOT EXISTS realtime.messages (
  id uuid NOT NULL DEFAULT gen_random_uuid(), topic text NOT NULL, extension text NOT NULL, payload jsonb,
  inserted_at timestamp NOT NULL DEFAULT now(), PRIMARY KEY (id, inserted_at)
) PARTITION BY RANGE (inserted_at);
ALTER TABLE realtime.messages OWNER TO supabase_realtime_admin;
ALTER TABLE realtime.messages ENABLE ROW LEVEL SECURITY;
GRANT USAGE ON SCHEMA realtime TO :"migration_role", anon, authenticated, service_role;

CREATE TABLE IF NOT EXISTS vault.secrets (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name text, secret text NOT NULL, created_at timestamptz DEFAULT now()
);
ALTER TABLE vault.secrets OWNER TO supabase_admin;

CREATE OR REPLACE FUNCTION graphql_public.graphql("operationName" text DEFAULT NULL, query text DEFAULT NULL,
                                                  variables jsonb DEFAULT NULL, extensions jsonb DEFAULT NULL)
  RETURNS jsonb LANGUAGE sql
  AS $$ SELECT jsonb_build_object('errors', jsonb_build_array('pg_graphql extension is not enabled.')) $$;
ALTER FUNCTION graphql_public.graphql(text, text, jsonb, jsonb) OWNER TO supabase_admin;
GRANT USAGE ON SCHEMA graphql_public TO :"migration_role", anon, authenticated, service_role;

CREATE OR REPLACE FUNCTION pgbouncer.get_auth(p_usename text) RETURNS TABLE (username text, password text)
  LANGUAGE sql SECURITY DEFINER SET search_path = ''
  AS $$ SELECT rolname::text, rolpassword::text FROM pg_catalog.pg_authid WHERE rolname = p_usename AND rolcanlogin $$;
ALTER FUNCTION pgbouncer.get_auth(text) OWNER TO supabase_admin;
REVOKE ALL ON FUNCTION pgbouncer.get_auth(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgbouncer.get_auth(text) TO pgbouncer;

-- Any DDL tells the REST server to read the schema anew: the event triggers that a move meets there.
CREATE OR REPLACE FUNCTION extensions.pgrst_ddl_watch() RETURNS event_trigger LANGUAGE plpgsql
    AS $$ BEGIN NOTIFY pgrst, 'reload schema'; END $$;
CREATE OR REPLACE FUNCTION extensions.pgrst_drop_watch() RETURNS event_trigger LANGUAGE plpgsql
    AS $$ BEGIN NOTIFY pgrst, 'reload schema'; END $$;
ALTER FUNCTION extensions.pgrst_ddl_watch() OWNER TO supabase_admin;
ALTER FUNCTION extensions.pgrst_drop_watch() OWNER TO supabase_admin;
SELECT format('CREATE EVENT TRIGGER %I ON %I EXECUTE FUNCTION extensions.%1$I()', name, event)
  FROM (VALUES ('pgrst_ddl_watch', 'ddl_command_end'), ('pgrst_drop_watch', 'sql_drop')) AS wanted(name, event)
 WHERE NOT EXISTS (SELECT FROM pg_event_trigger WHERE evtname = name) \gexec
ALTER EVENT TRIGGER pgrst_ddl_watch OWNER TO supabase_admin;
ALTER EVENT TRIGGER pgrst_drop_watch OWNER TO supabase_admin;

SELECT 'CREATE PUBLICATION supabase_realtime'
 WHERE NOT EXISTS (SELECT FROM pg_publication WHERE pubname = 'supabase_realtime') \gexec
ALTER PUBLICATION supabase_realtime OWNER TO :"migration_role";

-- The application's own, which is to move: rows that only their owner sees, and nothing of auth in the policy.
\if :sample
SET ROLE :"migration_role";
CREATE TABLE IF NOT EXISTS public.watchlists (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  owner uuid NOT NULL,
  symbol text NOT NULL,
  note text,
  created_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (owner, symbol)
);
ALTER TABLE public.watchlists ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS "Owners see their watchlists" ON public.watchlists;
CREATE POLICY "Owners see their watchlists" ON public.watchlists TO authenticated
  USING (owner = nullif(current_setting('request.jwt.claim.sub', true), '')::uuid);
INSERT INTO public.watchlists (owner, symbol, note)
  SELECT ('00000000-0000-4000-8000-' || lpad(to_hex(n % 10), 12, '0'))::uuid, 'SYM' || n, 'from the seed'
    FROM generate_series(1, 100) AS n
   WHERE NOT EXISTS (SELECT FROM public.watchlists);
RESET ROLE;
\endif
