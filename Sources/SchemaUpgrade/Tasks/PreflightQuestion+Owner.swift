// SPDX-License-Identifier: Apache-2.0

import UpgradeModel

/// What a migrator needs who is no superuser, and what its fence leaves open in this database. The latter have the word of a
/// ``FenceGap`` as their code, and are warnings where the plan accepts that.
extension PreflightQuestion {
    static let owner: [PreflightQuestion] = rights + gaps

    /// How a role is made a member of another, so that it has the rights and may become it.
    ///
    /// Since 16 a membership says both itself; before, the role says whether it inherits.
    private static func joining(_ owner: String) -> String {
        """
        format(CASE WHEN current_setting('server_version_num')::integer >= 160000 THEN 'GRANT %I TO %I WITH INHERIT TRUE, SET TRUE'
            WHEN (SELECT rolinherit FROM pg_roles WHERE rolname = session_user) THEN 'GRANT %I TO %I'
            ELSE 'GRANT %I TO %I; ALTER ROLE %2$I INHERIT' END, \(owner), session_user)
        """
    }

    /// What is to be done about something whose owner the migrator does not belong to: nobody should belong to a superuser.
    private static func adopting(_ kind: String) -> String {
        """
        CASE WHEN r.rolsuper THEN format('give it to a role that the migrator belongs to: ALTER \(kind) %s OWNER TO …', c.oid::regclass)
            ELSE \(joining("r.rolname")) END
        """
    }

    /// Whether the migrator has the rights of a role, and may become it.
    static func isMember(of role: String) -> String {
        """
        (pg_has_role(session_user, \(role), 'USAGE') AND pg_has_role(session_user, \(role),
            CASE WHEN current_setting('server_version_num')::integer >= 160000 THEN 'SET' ELSE 'MEMBER' END))
        """
    }

    /// - Parameter role: the role that migrations run as.
    static func membership(in role: String) -> PreflightQuestion {
        PreflightQuestion(
            severity: .error, code: "migrator-rights",
            sql: """
                SELECT format('migrations run as %s, and the migrator %s cannot become it', r.rolname, session_user),
                    \(joining("r.rolname"))
                FROM pg_roles AS r WHERE r.rolname = \(quotedLiteral(role)) AND NOT \(isMember(of: "r.oid"))
                """)
    }

    private static let rights = [
        PreflightQuestion(
            severity: .error, code: "migrator-rights",
            sql: """
                SELECT format('the migrator %s is no member of %s, and so cannot %s', session_user, n.name, n.purpose),
                    format('GRANT %I TO %I', n.name, session_user)
                FROM (VALUES ('pg_read_all_stats', 'see who is in the middle of something'),
                    ('pg_signal_backend', 'end who does not end by itself')) AS n (name, purpose)
                WHERE NOT pg_has_role(session_user, n.name, 'USAGE')
                UNION ALL SELECT format('the migrator %s may make no schema here, and Sluice needs one', session_user),
                    format('GRANT CREATE ON DATABASE %I TO %I', current_database(), session_user)
                WHERE NOT has_database_privilege(session_user, current_database(), 'CREATE')
                    AND NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'sluice')
                """),
        PreflightQuestion(
            severity: .error, code: "schema-taken",
            sql: """
                SELECT format('schema sluice belongs to %s, and not to the migrator %s', r.rolname, session_user),
                    format('as a superuser: ALTER SCHEMA sluice OWNER TO %I', session_user) || coalesce((
                        SELECT string_agg('; ' || o.statement, '' ORDER BY o.statement) FROM (
                            SELECT format('ALTER %s %s OWNER TO %I', CASE c.relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW'
                                ELSE 'TABLE' END, c.oid::regclass, session_user)
                            FROM pg_class AS c WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'v', 'S')
                            UNION ALL SELECT format('ALTER FUNCTION %s OWNER TO %I', p.oid::regprocedure, session_user)
                            FROM pg_proc AS p WHERE p.pronamespace = n.oid) AS o (statement)), '')
                FROM pg_namespace AS n JOIN pg_roles AS r ON r.oid = n.nspowner
                WHERE n.nspname = 'sluice' AND r.rolname <> session_user
                """),
        PreflightQuestion(
            severity: .warning, code: "grantors",
            sql: """
                SELECT DISTINCT format('%s has passed on rights on sequence %s, and the migrator cannot become it: after the lift they are '
                        'granted by the owner instead', e.grantor::regrole, c.oid::regclass),
                    \(joining("(SELECT rolname FROM pg_roles WHERE oid = e.grantor)"))
                FROM pg_class AS c, aclexplode(c.relacl) AS e
                WHERE c.relkind = 'S' AND e.grantor <> c.relowner AND NOT \(isMember(of: "e.grantor"))
                    AND c.relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname IN \(foreign))
                """),
    ]

    private static func gap(_ gap: FenceGap, _ sql: String) -> PreflightQuestion {
        PreflightQuestion(severity: .error, code: gap.rawValue, sql: sql)
    }

    /// Who owns something of this database, may create something in it, or pass on rights: role 0 is everybody.
    private static let makers = """
        maker (role, what) AS (
            SELECT d.refobjid, format('owns %s objects', count(*)) FROM pg_shdepend AS d
            WHERE d.refclassid = 'pg_authid'::regclass AND d.deptype = 'o'
                AND d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) GROUP BY 1
            UNION ALL SELECT datdba, 'owns the database' FROM pg_database WHERE datname = current_database()
            UNION ALL SELECT e.grantee, format('may create in schema %I', n.nspname)
            FROM pg_namespace AS n, aclexplode(n.nspacl) AS e
            WHERE e.privilege_type = 'CREATE' AND e.grantee <> n.nspowner AND n.nspname NOT IN \(foreign)
            UNION ALL SELECT e.grantee, 'may pass on rights' FROM pg_class AS c, aclexplode(c.relacl) AS e
            WHERE e.is_grantable AND e.grantee <> c.relowner AND c.relnamespace NOT IN (
                SELECT oid FROM pg_namespace WHERE nspname IN \(foreign))
            UNION ALL SELECT e.grantee, 'may create schemas' FROM pg_database AS d, aclexplode(d.datacl) AS e
            WHERE d.datname = current_database() AND e.privilege_type = 'CREATE' AND e.grantee <> d.datdba)
        """

    private static let gaps = [
        gap(
            .definitions,
            reach + ", " + makers + """
                SELECT format('role %s %s: nothing keeps it from changing definitions, and what it owns from losing the fence''s trigger',
                        l.rolname, string_agg(DISTINCT CASE WHEN m.role IN (0, l.oid) THEN m.what
                            ELSE format('%s (as %s)', m.what, m.role::regrole) END, ', ')),
                    'let a role own it that nobody logs in as, and revoke CREATE and grant options'
                FROM reach JOIN pg_roles AS l ON l.oid = reach.login JOIN maker AS m ON m.role IN (0, reach.role)
                WHERE has_database_privilege(l.oid, current_database(), 'CONNECT')
                    AND (m.role <> 0 OR l.oid IN (\(concerned))) GROUP BY l.rolname
                """),
        gap(
            .definitions,
            "WITH " + makers + """
                SELECT format('%s is SECURITY DEFINER and belongs to %s: whatever it defines, nothing keeps it from', p.oid::regprocedure,
                        p.proowner::regrole),
                    format('if nobody needs it: REVOKE EXECUTE ON ROUTINE %s FROM PUBLIC', p.oid::regprocedure)
                FROM pg_proc AS p JOIN pg_roles AS r ON r.oid = p.proowner AND NOT r.rolsuper
                WHERE p.prosecdef AND p.prorettype <> 'event_trigger'::regtype AND p.proowner IN (SELECT role FROM maker)
                    AND p.pronamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname IN \(foreign))
                    AND EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS e
                        WHERE e.grantee <> p.proowner)
                """),
        gap(
            .largeObjects,
            """
            SELECT format('everybody may write large objects, of which there are %s, and messages into the log of changes: these are '
                    'functions of PostgreSQL''s own', (SELECT count(*) FROM pg_largeobject_metadata)),
                'as a superuser: REVOKE EXECUTE ON FUNCTION ' || string_agg(p.oid::regprocedure::text, ', ' ORDER BY p.oid) || ' FROM PUBLIC'
            FROM pg_proc AS p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS e
            WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname IN (\(FenceRights.writingFunctionList))
                AND e.grantee <> p.proowner HAVING count(*) > 0
            """),
        gap(
            .definerFunctions,
            """
            SELECT format('%s is SECURITY DEFINER and belongs to a superuser: no right and no trigger keeps it from numbers, large objects '
                    'and definitions', f.oid::regprocedure),
                format('give it to a role that is no superuser, or, if nobody needs it: REVOKE EXECUTE ON ROUTINE %s FROM PUBLIC',
                    f.oid::regprocedure)
            FROM (\(FenceRights.superusersFunctions)) AS f JOIN pg_proc AS p USING (oid)
            WHERE EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS e
                WHERE e.grantee <> p.proowner)
            """),
        gap(
            .sequences,
            """
            SELECT format('sequence %s belongs to %s, whose rights the migrator does not have: whoever may draws numbers from it',
                    c.oid::regclass, r.rolname), \(adopting("SEQUENCE"))
            FROM pg_class AS c JOIN pg_roles AS r ON r.oid = c.relowner
            WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND NOT \(isMember(of: "c.relowner"))
                AND c.relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname IN \(foreign))
            UNION ALL SELECT format('role %s is a member of pg_write_all_data, and draws numbers from every sequence', rolname),
                format('REVOKE pg_write_all_data FROM %I', rolname)
            FROM pg_roles WHERE rolcanlogin AND NOT rolsuper AND pg_has_role(oid, 'pg_write_all_data', 'MEMBER')
                AND has_database_privilege(oid, current_database(), 'CONNECT')
            """),
        gap(
            .strangersTables,
            """
            SELECT format('table %s belongs to %s, whose rights the migrator does not have: it gets no trigger', c.oid::regclass, r.rolname),
                \(adopting("TABLE"))
            FROM pg_class AS c JOIN pg_roles AS r ON r.oid = c.relowner
            WHERE c.relkind IN ('r', 'p', 'f') AND c.relpersistence <> 't' AND NOT \(isMember(of: "c.relowner"))
                AND c.relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname IN \(foreign))
            """),
        gap(
            .createrole,
            reach + """
                SELECT DISTINCT format('role %s may create roles, and so give itself the rights of others', s.rolname),
                    format('ALTER ROLE %I NOCREATEROLE', s.rolname)
                FROM reach JOIN pg_roles AS s ON s.oid = reach.role
                WHERE s.rolcreaterole AND (reach.login IN (\(concerned)) OR reach.role IN (\(concerned)))
                """),
        gap(
            .migratorMembers,
            reach + """
                SELECT format('role %s may become the migrator %s, and change what the fence does', l.rolname, session_user),
                    format('REVOKE %I FROM %s', session_user, l.rolname)
                FROM reach JOIN pg_roles AS l ON l.oid = reach.login JOIN pg_roles AS s ON s.oid = reach.role
                WHERE s.rolname = session_user
                """),
        gap(
            .eventTriggers,
            """
            SELECT format('event trigger %s sees Sluice''s own statements', evtname),
                format('make sure that it neither changes nor refuses them, or: ALTER EVENT TRIGGER %I DISABLE', evtname)
            FROM pg_event_trigger WHERE evtenabled IN ('O', 'A')
            """),
    ]
}
