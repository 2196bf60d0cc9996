// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

/// What lets the sessions of one tool through a fence that is up, while its step runs.
///
/// The node where the tool runs makes a secret; the tool's sessions show it as the setting `sluice.pass`, which every client
/// of libpq sends when it finds it in `PGOPTIONS`. The database knows the secret's digest only, and forgets it when the step
/// ends.
///
/// A session that passes takes an advisory lock first, and looks at a latch afterwards: a sequence, whose value no
/// transaction sees late. Whoever closes the pass sets the latch, and then waits for those locks, so that nobody can have
/// come through unseen, whatever an old session still has in its caches.
struct FencePass: Sendable, Hashable {
    /// SHA-256 of the secret's text.
    var digest: Digest
    /// Those that the tool may log in as.
    var roles: [String]

    /// The second half of the advisory lock, and the value of the latch while it is open for this pass.
    var key: Int32 {
        let number = digest.bytes.prefix(4).reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        return Int32(number & 0x7FFF_FFFF) | 1
    }

    /// The roles as an array of SQL.
    var list: String { "ARRAY[\(roles.map(quotedLiteral).joined(separator: ", "))]::text[]" }

    static let eventTrigger = "sluice_fence_new"

    /// Whether the session that writes has the pass.
    var recognition: String {
        """
        CREATE OR REPLACE FUNCTION sluice.has_pass() RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
        SET search_path = pg_catalog AS $pass$
        BEGIN
            IF session_user::text <> ALL (\(list)) OR current_setting('sluice.pass', true) IS NULL
                OR encode(sha256(convert_to(current_setting('sluice.pass', true), 'UTF8')), 'hex') <> '\(digest.hexadecimal)'
            THEN
                RETURN false;
            END IF;
            RETURN pg_try_advisory_lock_shared(\(LockClass.pass), \(key))
                AND pg_try_advisory_xact_lock_shared(\(LockClass.pass), \(key))
                AND (SELECT last_value = \(key) FROM sluice.open_pass);
        END $pass$;

        """
    }

    private static let nobody = """
        CREATE OR REPLACE FUNCTION sluice.has_pass() RETURNS boolean LANGUAGE sql AS 'SELECT false';

        """

    /// What a tool makes or opens is closed to others in the transaction of the statement that does it, whatever default
    /// privileges say.
    static let watch = """
        DROP EVENT TRIGGER IF EXISTS \(eventTrigger);
        CREATE EVENT TRIGGER \(eventTrigger) ON ddl_command_end EXECUTE FUNCTION sluice.fence_new();
        ALTER EVENT TRIGGER \(eventTrigger) ENABLE ALWAYS;

        """

    /// The same for everybody, in a transaction; those who are past it already are waited for afterwards.
    static func shut(isComplete: Bool) -> String {
        let gate = nobody + "SELECT setval('sluice.open_pass', 0);\n"
        // Without event triggers all sequences have been open, so that what the tool has granted stands in them.
        if !isComplete { return gate + "SELECT sluice.close_rights();\n" }
        return gate + """
            DROP EVENT TRIGGER IF EXISTS \(eventTrigger);
            SELECT sluice.follow_owners(); SELECT sluice.open_rights(); SELECT sluice.close_rights();

            """
    }

    /// What opens with the pass for whoever has the tool's roles: the numbers of their sequences. A migrator who is no
    /// superuser opens all of them, because no event trigger tells it what the tool grants.
    func opening(isComplete: Bool) -> String {
        isComplete
            ? FencePass.watch + "SELECT sluice.open_own_sequences(\(list));\n"
            : "SELECT sluice.open_rights();\n"
    }

    static let install =
        """
        CREATE SEQUENCE IF NOT EXISTS sluice.open_pass MINVALUE 0 START 0;

        """ + nobody + sequences + newcomers

    private static let sequences = """
        -- Sequences that others than their owner may draw from. The owner may while a pass is open, because a tool logs in as
        -- the owner, or as a member.
        CREATE OR REPLACE VIEW sluice.shared_sequence AS
            SELECT c.oid, c.relacl AS acl, c.relowner AS owner FROM pg_class AS c
            WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND c.relacl IS NOT NULL
                AND c.relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname IN \(FenceSchema.foreignSchemas))
                AND EXISTS (SELECT FROM aclexplode(c.relacl) AS e WHERE e.grantee <> c.relowner
                    AND e.privilege_type IN ('UPDATE', 'USAGE'));

        -- Gives the right to draw back to the owners that one of these roles is, or belongs to.
        CREATE OR REPLACE FUNCTION sluice.open_own_sequences(roles text[]) RETURNS void LANGUAGE plpgsql AS $own$
        BEGIN
            UPDATE pg_class AS c SET relacl = sluice.closed(
                    coalesce(s.before::aclitem[], acldefault('s', c.relowner)), c.relowner, 'wU')
                FROM sluice.stored AS s
                WHERE s.kind = 'relation' AND s.object = c.oid AND c.relkind = 'S'
                    AND EXISTS (SELECT FROM unnest(roles) AS r WHERE pg_has_role(r, c.relowner, 'MEMBER'));
            -- Where nobody may call nextval, they may.
            UPDATE pg_proc AS p SET proacl = p.proacl || ARRAY(
                    SELECT makeaclitem(o.oid, p.proowner, 'EXECUTE', false) FROM pg_roles AS o
                    WHERE o.oid IN (SELECT relowner FROM pg_class WHERE relkind = 'S' AND relpersistence <> 't')
                        AND EXISTS (SELECT FROM unnest(roles) AS r WHERE pg_has_role(r, o.oid, 'MEMBER')))
                WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname IN ('nextval', 'setval')
                    AND p.oid IN (SELECT object FROM sluice.stored WHERE kind = 'function');
        END $own$;

        -- The same rights of another owner, as ALTER … OWNER TO would leave them.
        CREATE OR REPLACE FUNCTION sluice.reowned(acl text[], former oid, owner oid) RETURNS text[] LANGUAGE sql AS $owned$
            WITH pattern (p) AS (VALUES ('^((?:"(?:[^"]|"")*"|[^="]*)=)([a-zA-Z*]*)(/.*)$')),
            former_item (f) AS (SELECT regexp_match(makeaclitem(former, former, 'SELECT', false)::text, p) FROM pattern),
            owner_item (o) AS (SELECT regexp_match(makeaclitem(owner, owner, 'SELECT', false)::text, p) FROM pattern),
            part AS (SELECT n, CASE WHEN m[1] = f[1] THEN o[1] ELSE m[1] END AS grantee, m[2] AS rights,
                    CASE WHEN m[3] = f[3] THEN o[3] ELSE m[3] END AS grantor
                FROM unnest(acl) WITH ORDINALITY AS u (item, n), pattern, former_item, owner_item,
                    LATERAL regexp_match(u.item, p) AS m)
            SELECT coalesce(array_agg(grantee || rights || grantor ORDER BY n), '{}') FROM (
                SELECT DISTINCT ON (grantee, grantor) * FROM part ORDER BY grantee, grantor, length(rights) DESC) AS i
        $owned$;

        -- Rights that are kept while they are closed go with a sequence to its new owner.
        CREATE OR REPLACE FUNCTION sluice.follow_owners() RETURNS void LANGUAGE sql AS $follow$
            UPDATE sluice.stored AS s SET before = sluice.reowned(s.before, f.former, f.owner)
            FROM (SELECT t.object, c.relowner AS owner, (
                    SELECT e.grantor FROM aclexplode(t.before::aclitem[]) AS e
                    WHERE NOT EXISTS (SELECT FROM aclexplode(t.before::aclitem[]) AS g
                        WHERE g.grantee = e.grantor AND g.grantor <> e.grantor) LIMIT 1) AS former
                FROM sluice.stored AS t JOIN pg_class AS c ON c.oid = t.object
                WHERE t.kind = 'relation' AND t.before IS NOT NULL) AS f
            WHERE s.kind = 'relation' AND s.object = f.object AND f.former <> f.owner
        $follow$;

        """

    private static let newcomers = """
        CREATE OR REPLACE FUNCTION sluice.fence_new() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER
        SET search_path = pg_catalog SET jit = off AS $new$
        BEGIN
            -- By what this does itself, on a server that cannot leave event triggers out.
            IF current_setting('sluice.fencing', true) = 'on' THEN RETURN; END IF;
            PERFORM sluice.fence_table(u.oid) FROM sluice.unfenced_table AS u;
            IF tg_tag IN ('GRANT', 'REVOKE') THEN
                -- The statement has seen the rights as they will be after the lift.
                PERFORM sluice.close_rights();
                PERFORM sluice.open_own_sequences((SELECT passes FROM sluice.fence));
                RETURN;
            END IF;
            IF tg_tag IN ('ALTER TABLE', 'ALTER SEQUENCE') THEN PERFORM sluice.follow_owners(); END IF;
            INSERT INTO sluice.stored AS s (kind, object, part, before)
                SELECT 'relation', q.oid, 0, q.acl::text[] FROM sluice.shared_sequence AS q
                ON CONFLICT (kind, object, part, detail) DO UPDATE SET before = sluice.merged(coalesce(s.before, (
                    SELECT acldefault('s', relowner)::text[] FROM pg_class WHERE oid = s.object)), excluded.before);
            UPDATE pg_class AS c SET relacl = sluice.closed(q.acl, q.owner, 'wU')
                FROM sluice.shared_sequence AS q WHERE q.oid = c.oid;
        END $new$;

        """
}
