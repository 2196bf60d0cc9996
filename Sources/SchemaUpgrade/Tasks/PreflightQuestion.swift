// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import UpgradeModel

/// One thing to ask of the database before a run; each row of the answer is a finding.
struct PreflightQuestion: Sendable {
    var severity: Diagnostic.Severity
    var code: String
    /// The kind of fence that it is about; `nil`: any.
    var level: FenceLevel?
    /// Whether there is nothing to say where the plan holds the reads of who has a session.
    var isAnsweredByHeldSessions = false
    /// Rows of a message and an advice.
    var sql: String

    func ask(_ session: borrowing Session) throws -> [Diagnostic] {
        try session.query("SELECT * FROM (\(sql)) AS q (message, advice) ORDER BY 1 LIMIT 50").map {
            row in
            Diagnostic(severity, code: code, row.text(0), advice: row[1])
        }
    }

    /// The questions for a fence of this level, and a plan that holds the reads of sessions or does not.
    static func about(_ level: FenceLevel, holdsSessions: Bool) -> [PreflightQuestion] {
        (all + window + (level == .owner ? PreflightQuestion.owner : [])).filter {
            ($0.level == nil || $0.level == level)
                && !(holdsSessions && $0.isAnsweredByHeldSessions)
        }
    }

    /// What kind of server this is.
    static func server(_ session: borrowing Session) throws -> [Diagnostic] {
        guard try session.query("SELECT pg_is_in_recovery()")[0].isTrue(0) else { return [] }
        return [
            Diagnostic(
                .error, code: "standby", "the address leads to a standby",
                advice: "give the primary's")
        ]
    }

    /// Roles that may log in, with every role that each may become or inherits from.
    static let reach = """
        WITH RECURSIVE reach (login, role) AS (
            SELECT oid, oid FROM pg_roles WHERE rolcanlogin AND NOT rolsuper AND rolname <> session_user
            UNION SELECT reach.login, m.roleid FROM reach JOIN pg_auth_members AS m ON m.member = reach.role)
        """

    static let concerned = FenceStatements.concernedRoles

    static let foreign = FenceSchema.foreignSchemas

    static let all: [PreflightQuestion] = [
        PreflightQuestion(
            severity: .error, code: "migrator-rights", level: .complete,
            sql: """
                SELECT format('the migrator %s is no superuser; event triggers and ACLs need one', rolname),
                    format('ALTER ROLE %I SUPERUSER; or, on a server that gives none, let the plan say database: {fence: owner}',
                        rolname)
                FROM pg_roles WHERE rolname = session_user AND NOT rolsuper
                """),
        PreflightQuestion(
            severity: .error, code: "schema-taken", level: .complete,
            sql: """
                SELECT format('schema sluice belongs to %s, who is no superuser', r.rolname),
                    'rename that schema, or drop it if nobody needs it'
                FROM pg_namespace AS n JOIN pg_roles AS r ON r.oid = n.nspowner
                WHERE n.nspname = 'sluice' AND NOT r.rolsuper
                """),
        PreflightQuestion(
            severity: .error, code: "superuser-member",
            sql: reach + """
                SELECT format('role %s may become the superuser %s', l.rolname, s.rolname),
                    format('REVOKE %I FROM %I', s.rolname, l.rolname)
                FROM reach JOIN pg_roles AS l ON l.oid = reach.login JOIN pg_roles AS s ON s.oid = reach.role
                WHERE s.rolsuper AND reach.login IN (\(concerned))
                """),
        PreflightQuestion(
            severity: .error, code: "createrole", level: .complete,
            sql: reach + """
                SELECT DISTINCT format('role %s may create roles, and so give itself the rights of any other', s.rolname),
                    format('ALTER ROLE %I NOCREATEROLE', s.rolname)
                FROM reach JOIN pg_roles AS s ON s.oid = reach.role
                WHERE s.rolcreaterole AND (reach.login IN (\(concerned)) OR reach.role IN (\(concerned)))
                """),
        PreflightQuestion(
            severity: .warning, code: "createrole",
            sql: reach + """
                SELECT DISTINCT format('role %s may create roles; it has no rights here yet', s.rolname),
                    format('ALTER ROLE %I NOCREATEROLE', s.rolname)
                FROM reach JOIN pg_roles AS s ON s.oid = reach.role
                WHERE s.rolcreaterole AND NOT (reach.login IN (\(concerned)) OR reach.role IN (\(concerned)))
                """),
        PreflightQuestion(
            severity: .error, code: "server-programs",
            sql: reach + """
                SELECT format('role %s may run programs or write files on the server (%s)', l.rolname, s.rolname),
                    format('REVOKE %I FROM %I', s.rolname, l.rolname)
                FROM reach JOIN pg_roles AS l ON l.oid = reach.login JOIN pg_roles AS s ON s.oid = reach.role
                WHERE s.rolname IN ('pg_execute_server_program', 'pg_write_server_files')
                    AND reach.login IN (\(concerned))
                """),
        PreflightQuestion(
            severity: .error, code: "subscription",
            sql: """
                SELECT format('subscription %s writes into this database past every trigger', subname),
                    format('ALTER SUBSCRIPTION %I DISABLE', subname)
                FROM pg_subscription WHERE subenabled
                    AND subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
                """),
        PreflightQuestion(
            severity: .error, code: "background-worker",
            sql: """
                SELECT format('background worker %s (process %s) works in this database', backend_type, pid),
                    'stop it for the time of the upgrade'
                FROM pg_stat_activity WHERE datname = current_database() AND backend_type NOT IN (
                    'client backend', 'walsender', 'autovacuum worker', 'autovacuum launcher', 'parallel worker',
                    'logical replication worker', 'logical replication launcher')
                """),
        PreflightQuestion(
            severity: .error, code: "prepared-transactions",
            sql: """
                SELECT format('prepared transaction %L of %s is pending since %s', gid, owner, prepared),
                    format('COMMIT PREPARED %1$L, or ROLLBACK PREPARED %1$L', gid)
                FROM pg_prepared_xacts WHERE database = current_database()
                """),
        PreflightQuestion(
            severity: .error, code: "track-activities",
            sql: """
                SELECT CASE WHEN d.setrole = 0 THEN 'track_activities is off for the database'
                    ELSE format('track_activities is off for role %s', d.setrole::regrole) END,
                    CASE WHEN d.setrole = 0 THEN format('ALTER DATABASE %I RESET track_activities', current_database())
                    ELSE format('ALTER ROLE %s RESET track_activities', d.setrole::regrole) END
                FROM pg_db_role_setting AS d, unnest(d.setconfig) AS s
                WHERE s IN ('track_activities=off', 'track_activities=false', 'track_activities=0')
                    AND d.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
                    AND (d.setrole = 0 OR d.setrole IN (\(concerned)))
                UNION ALL SELECT 'track_activities is off for the server', 'ALTER SYSTEM RESET track_activities'
                FROM pg_settings WHERE name = 'track_activities' AND reset_val = 'off' AND source <> 'database'
                """),
        PreflightQuestion(
            severity: .warning, code: "definer-function", level: .complete,
            sql: """
                SELECT format('%s is SECURITY DEFINER, VOLATILE and belongs to a superuser, and cannot be made to read only: '
                        'it cannot be called while the fence is up', oid::regprocedure),
                    format('if it only reads: ALTER FUNCTION %s STABLE', oid::regprocedure)
                FROM (\(FenceRights.superusersFunctions)) AS f WHERE is_volatile AND NOT is_tamable AND prokind <> 'p'
                UNION ALL SELECT format('procedure %s is SECURITY DEFINER and belongs to a superuser: it cannot be called while '
                        'the fence is up', oid::regprocedure),
                    format('ALTER PROCEDURE %s OWNER TO a role that is no superuser, or let nobody need it', oid::regprocedure)
                FROM (\(FenceRights.superusersFunctions)) AS f WHERE prokind = 'p'
                """),
        PreflightQuestion(
            severity: .warning, code: "definer-function", level: .complete,
            sql: """
                SELECT format('%s is SECURITY DEFINER and belongs to a superuser; it stays open because it says that it only reads',
                        oid::regprocedure),
                    'make sure that it neither draws from a sequence nor calls a function that does; better, give it to a role that is no superuser'
                FROM (\(FenceRights.superusersFunctions)) AS f WHERE NOT is_volatile AND NOT is_tamable
                """),
        PreflightQuestion(
            severity: .warning, code: "writes-all-data", level: .complete,
            sql: """
                SELECT format('role %s is a member of pg_write_all_data: while the fence is up, nobody draws from a sequence, '
                        'and an INSERT that does gets 42501 instead of 25006', rolname),
                    format('REVOKE pg_write_all_data FROM %I', rolname)
                FROM pg_roles AS r WHERE rolcanlogin AND NOT rolsuper AND pg_has_role(oid, 'pg_write_all_data', 'MEMBER')
                    AND has_database_privilege(oid, current_database(), 'CONNECT') AND oid IN (\(concerned))
                """),
        PreflightQuestion(
            severity: .warning, code: "application-owns", level: .complete,
            sql: reach + """
                SELECT format('role %s owns, itself or by membership, %s tables; the fence holds it by triggers alone',
                        l.rolname, count(*)),
                    'let a role own them that nobody logs in as'
                FROM reach JOIN pg_roles AS l ON l.oid = reach.login JOIN pg_class AS c ON c.relowner = reach.role
                WHERE c.relkind IN ('r', 'p', 'f') AND c.relpersistence <> 't'
                    AND c.relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname IN \(foreign))
                GROUP BY l.rolname
                """),
        PreflightQuestion(
            severity: .warning, code: "superuser-role",
            sql: """
                SELECT format('superuser %s may log in; nothing in a database can hold a superuser who means to get past it', rolname),
                    format('ALTER ROLE %I NOSUPERUSER, if it is an application''s', rolname)
                FROM pg_roles WHERE rolsuper AND rolcanlogin AND rolname <> session_user AND oid <> 10
                    AND EXISTS (SELECT FROM (\(concerned)) AS c (role) WHERE c.role = pg_roles.oid)
                """),
        PreflightQuestion(
            severity: .warning, code: "user-mapping",
            sql: """
                SELECT format('a user mapping of server %s logs in as the migrator', srvname),
                    'drop it, or give the migrator another role'
                FROM pg_user_mappings, unnest(umoptions) AS o WHERE o = 'user=' || session_user
                """),
    ]
}
