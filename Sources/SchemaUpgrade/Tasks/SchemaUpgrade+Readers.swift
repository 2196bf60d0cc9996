// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import UpgradeModel

/// Old transactions that need not end, because they cannot write.
///
/// No other session can see whether a transaction is READ ONLY: `pg_stat_activity` and `pg_locks` show the same of one that
/// is and of one that is not. What can be seen is whether its role may write anything at all.
extension SchemaUpgrade {
    /// Those of the stored transactions that have not ended and that count.
    func olderWriters(_ readers: inout Set<String>?) async throws -> [Straggler] {
        let all = try await older()
        if all.isEmpty || !configuration.sparesReaders { return all }
        let known: Set<String>
        if let found = readers { known = found } else { known = try await rolesThatOnlyRead() }
        readers = known
        return all.filter { !$0.isReader(known) }
    }

    /// The old transactions that go on, because they only read.
    func sparedReaders() async throws -> [Straggler] {
        guard configuration.sparesReaders, try await isInstalled() else { return [] }
        let all = try await older()
        if all.isEmpty { return [] }
        let known = try await rolesThatOnlyRead()
        return all.filter { $0.isReader(known) }
    }

    /// Ends the readers that the census has spared, when a migration of the window waits for what they read; where the plan ends
    /// nobody, they stay.
    ///
    /// - Returns: those that were ended.
    func endReadersInTheWay(_ task: DatabaseTask) async throws -> [String] {
        guard configuration.stragglers == .terminate else { return [] }
        let spared = try await sparedReaders()
        try await endStragglers(task, spared, until: deadline(.seconds(10)))
        return spared.map {
            "ended, because a migration waited for what it reads: \($0.description)"
        }
    }

    /// Roles that may change nothing here, by any right, membership, ownership or function, and those that the plan vouches for.
    func rolesThatOnlyRead() async throws -> Set<String> {
        let found = try await open().query(
            SchemaUpgrade.roleThatOnlyReads(
                isInstalled: try await isInstalled(), stored: storedRights))
        return Set(found.map { $0.text(0) }).union(configuration.readers)
    }

    /// Rights as they are when no fence is up.
    ///
    /// - Parameter stored: how those that a fence has taken are read.
    static func roleThatOnlyReads(isInstalled: Bool, stored: String) -> String {
        func rights(_ acl: String, _ kind: String, of object: String) -> String {
            guard isInstalled else { return acl }
            return """
                CASE WHEN EXISTS (SELECT FROM sluice.stored AS s WHERE s.kind = '\(kind)' AND s.object = \(object))
                    THEN (SELECT \(stored) FROM sluice.stored AS s WHERE s.kind = '\(kind)' AND s.object = \(object))
                    ELSE \(acl) END
                """
        }
        return """
            WITH RECURSIVE reach (login, role) AS (
                SELECT oid, oid FROM pg_roles WHERE rolcanlogin
                UNION SELECT reach.login, m.roleid FROM reach JOIN pg_auth_members AS m ON m.member = reach.role),
            writer (role) AS (
                SELECT d.refobjid FROM pg_shdepend AS d WHERE d.refclassid = 'pg_authid'::regclass AND d.deptype = 'o'
                    AND (d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
                        OR d.classid = 'pg_database'::regclass
                            AND d.objid = (SELECT oid FROM pg_database WHERE datname = current_database()))
                UNION SELECT oid FROM pg_roles WHERE rolsuper OR rolcreaterole OR rolname IN ('pg_write_all_data',
                    'pg_maintain', 'pg_write_server_files', 'pg_execute_server_program')
                UNION SELECT e.grantee FROM pg_class AS c, aclexplode(\(rights("c.relacl", "relation", of: "c.oid"))) AS e
                WHERE c.relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname IN \(FenceSchema.foreignSchemas))
                    AND e.privilege_type NOT IN ('SELECT')
                UNION SELECT e.grantee FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid, aclexplode(a.attacl) AS e
                WHERE c.relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname IN \(FenceSchema.foreignSchemas))
                    AND e.privilege_type NOT IN ('SELECT')
                UNION SELECT e.grantee FROM pg_namespace AS n, aclexplode(n.nspacl) AS e WHERE e.privilege_type = 'CREATE'
                UNION SELECT e.grantee FROM pg_database AS d, aclexplode(d.datacl) AS e
                WHERE d.datname = current_database() AND e.privilege_type = 'CREATE'
                UNION SELECT e.grantee FROM pg_largeobject_metadata AS o, aclexplode(o.lomacl) AS e
                WHERE e.privilege_type = 'UPDATE'
                UNION SELECT e.grantee FROM pg_proc AS p,
                    aclexplode(coalesce(\(rights("p.proacl", "function", of: "p.oid")), acldefault('f', p.proowner))) AS e
                WHERE p.prosecdef AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
                    AND p.pronamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname IN \(FenceSchema.foreignSchemas)))
            SELECT r.rolname FROM pg_roles AS r WHERE r.rolcanlogin AND NOT EXISTS (SELECT FROM writer WHERE role = 0)
                AND NOT EXISTS (SELECT FROM reach JOIN writer USING (role) WHERE reach.login = r.oid)
            """
    }
}

extension Straggler {
    /// Whether it is of one of these roles, has written nothing, and holds no lock that somebody who only reads does not take.
    func isReader(_ readers: Set<String>) -> Bool { isQuiet && readers.contains(role) }
}
