// SPDX-License-Identifier: Apache-2.0

/// What a migrator does with sequences who is no superuser: as a member of the roles that own them, by `GRANT` and `REVOKE`.
///
/// An ACL that stands in the catalog comes back byte for byte, because everything is revoked first and then granted again in
/// the order in which it stood, each by its own grantor. A default that stands there as NULL comes back written out: no
/// statement can bring NULL back. It means the same, and `pg_dump` shows neither.
enum OwnerRights {
    static let install = """
        -- Whether the migrator holds everything itself, or does what the owners may.
        CREATE OR REPLACE FUNCTION sluice.is_complete() RETURNS boolean LANGUAGE sql STABLE AS $complete$
            SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) current_user
        $complete$;

        -- Whether the migrator may do what only this role may.
        CREATE OR REPLACE FUNCTION sluice.is_ours(owner oid) RETURNS boolean LANGUAGE sql STABLE AS $ours$
            SELECT pg_catalog.pg_has_role(current_user, owner, 'USAGE')
        $ours$;

        CREATE OR REPLACE FUNCTION sluice.may_act_as(role oid) RETURNS boolean LANGUAGE sql STABLE AS $act$
            SELECT pg_catalog.pg_has_role(current_user, role,
                CASE WHEN pg_catalog.current_setting('server_version_num')::integer >= 160000 THEN 'SET' ELSE 'MEMBER' END)
        $act$;

        -- Rights without those of roles that are gone.
        CREATE OR REPLACE FUNCTION sluice.of_living_roles(items text[]) RETURNS aclitem[] LANGUAGE plpgsql STRICT AS $living$
        DECLARE item text; living aclitem[] := '{}';
        BEGIN
            FOREACH item IN ARRAY items LOOP
                BEGIN
                    living := living || item::aclitem;
                EXCEPTION WHEN undefined_object THEN NULL;
                END;
            END LOOP;
            RETURN living;
        END $living$;

        CREATE OR REPLACE FUNCTION sluice.grantees(acl aclitem[], rights text[]) RETURNS text LANGUAGE sql AS $grantees$
            SELECT string_agg(DISTINCT CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE e.grantee::regrole::text END, ', ')
            FROM aclexplode(acl) AS e WHERE e.privilege_type = ANY (rights)
        $grantees$;

        CREATE OR REPLACE FUNCTION sluice.close_sequences() RETURNS integer LANGUAGE plpgsql AS $close$
        DECLARE s record; closed integer := 0;
        BEGIN
            FOR s IN SELECT o.oid, o.stored, o.acl, o.oid::regclass AS name FROM sluice.open_sequence AS o ORDER BY o.oid LOOP
                INSERT INTO sluice.stored AS t (kind, object, part, before) VALUES ('relation', s.oid, 0, s.stored::text[])
                    ON CONFLICT (kind, object, part, detail) DO UPDATE SET before = sluice.merged(coalesce(t.before, (
                        SELECT acldefault('s', relowner)::text[] FROM pg_class WHERE oid = t.object)), excluded.before);
                EXECUTE format('REVOKE UPDATE, USAGE ON SEQUENCE %s FROM %s CASCADE', s.name,
                    sluice.grantees(s.acl, ARRAY['UPDATE', 'USAGE']));
                closed := closed + 1;
            END LOOP;
            RETURN closed;
        END $close$;

        -- Grants as whoever has granted it, where that is possible; else as the owner, which gives the same right.
        CREATE OR REPLACE FUNCTION sluice.grant_as(grantor oid, owner oid, sequence regclass, rights text[], rest text)
        RETURNS void LANGUAGE plpgsql AS $grant$
        DECLARE statement text := format('GRANT %s ON SEQUENCE %s TO %s', array_to_string(rights, ', '), sequence, rest);
        BEGIN
            IF grantor <> owner AND sluice.may_act_as(grantor) AND (
                SELECT bool_and(has_sequence_privilege(grantor, sequence, r || ' WITH GRANT OPTION')) FROM unnest(rights) AS r)
            THEN
                BEGIN
                    EXECUTE format('SET LOCAL ROLE %s', grantor::regrole);
                    EXECUTE statement;
                    SET LOCAL ROLE NONE;
                    RETURN;
                EXCEPTION WHEN insufficient_privilege THEN NULL;
                END;
            END IF;
            EXECUTE statement;
        END $grant$;

        CREATE OR REPLACE FUNCTION sluice.open_sequences() RETURNS void LANGUAGE plpgsql AS $open$
        DECLARE s record; i record;
        BEGIN
            FOR s IN SELECT c.oid, c.oid::regclass AS name, c.relowner AS owner,
                    sluice.grantees(c.relacl, ARRAY['SELECT', 'UPDATE', 'USAGE']) AS grantees,
                    coalesce(sluice.of_living_roles(t.before), acldefault('s', c.relowner)) AS acl
                FROM sluice.stored AS t JOIN pg_class AS c ON c.oid = t.object
                -- One that was given away meanwhile stays as it is; the report of the lift says what it was.
                WHERE t.kind = 'relation' AND c.relkind = 'S' AND sluice.is_ours(c.relowner) ORDER BY c.oid
            LOOP
                IF s.grantees IS NOT NULL THEN
                    EXECUTE format('REVOKE ALL ON SEQUENCE %s FROM %s CASCADE', s.name, s.grantees);
                END IF;
                FOR i IN SELECT u.n, e.grantor, e.is_grantable,
                        CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE e.grantee::regrole::text END AS grantee,
                        array_agg(e.privilege_type) AS rights
                    FROM unnest(s.acl) WITH ORDINALITY AS u (item, n), aclexplode(ARRAY[u.item]) AS e
                    GROUP BY u.n, e.grantor, e.is_grantable, e.grantee ORDER BY u.n, e.is_grantable
                LOOP
                    PERFORM sluice.grant_as(i.grantor, s.owner, s.name, i.rights,
                        i.grantee || CASE WHEN i.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END);
                END LOOP;
            END LOOP;
        END $open$;

        """
}
