// SPDX-License-Identifier: Apache-2.0

import PostgresClient
import UpgradeModel

/// Whose the application's tables are, and what such a role's session would find.
enum OwnerQuestion {
    /// Roles that own tables of the application, with whether they are superusers, how many they own, and one of them.
    private static let owners = """
        SELECT r.rolname, r.rolsuper, count(*), min(c.oid::regclass::text)
        FROM pg_class AS c JOIN pg_roles AS r ON r.oid = c.relowner
            JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname NOT IN \(FenceSchema.foreignSchemas)
            AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                AND d.deptype = 'e')
        GROUP BY 1, 2 ORDER BY 3 DESC, 1
        """

    /// What a role's own settings are in this database, the more special ones last.
    private static let settings = """
        SELECT left(s, strpos(s, '=') - 1), substr(s, strpos(s, '=') + 1)
        FROM pg_db_role_setting AS d JOIN pg_roles AS r ON r.oid = d.setrole, unnest(d.setconfig) AS s
        WHERE r.rolname = $1
            AND d.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
        ORDER BY d.setdatabase
        """

    struct Answer: Sendable {
        /// `nil` for the migrator itself.
        var role: String?
        var isSuperuser: Bool
    }

    /// The role that migrations run as.
    ///
    /// - Throws: `owner-unclear` when the tables belong to several and the plan names none, `owner-missing` when there is no such
    ///   role.
    static func ask(_ session: borrowing Session, named: String?) throws -> Answer {
        if let named {
            let rows = try session.query(
                "SELECT rolsuper FROM pg_roles WHERE rolname = $1", [named])
            guard let row = rows.first else {
                throw DatabaseFailure(
                    code: "owner-missing",
                    "there is no role \(named), which the plan names as database.owner",
                    advice: "create it, or name another one")
            }
            return Answer(role: named, isSuperuser: row.isTrue(0))
        }
        let found = try session.query(owners)
        guard let first = found.first else { return try ownerOfDatabase(session) }
        guard found.count == 1 else {
            let list = found.prefix(5).map {
                "\($0.text(0)) (\($0.text(2)), such as \($0.text(3)))"
            }
            throw DatabaseFailure(
                code: "owner-unclear",
                "the application's tables belong to several roles: \(list.joined(separator: ", "))",
                advice:
                    "say in the plan whose the migrations are: database: {owner: \(first.text(0))}")
        }
        return Answer(role: first.text(0), isSuperuser: first.isTrue(1))
    }

    /// Without any table, the database's owner is the best guess, unless that is a superuser.
    private static func ownerOfDatabase(_ session: borrowing Session) throws -> Answer {
        let row = try session.query(
            """
            SELECT r.rolname, r.rolsuper FROM pg_database AS d JOIN pg_roles AS r ON r.oid = d.datdba
            WHERE d.datname = current_database()
            """)[0]
        return row.isTrue(1)
            ? Answer(role: nil, isSuperuser: true) : Answer(role: row.text(0), isSuperuser: false)
    }

    static func settings(of role: String, _ session: borrowing Session) throws
        -> [Surroundings.Setting]
    {
        try session.query(settings, [role]).map {
            Surroundings.Setting(name: $0.text(0), value: $0.text(1))
        }
    }
}

extension SchemaUpgrade {
    /// What migrations of this run find around them; asked once a session.
    func surroundings() async throws -> Surroundings {
        if let known = knownSurroundings { return known }
        let configuration = configuration
        let (migrator, sessionPath) = (migrator, searchPath)
        let found = try await open().perform { session in
            let answer = try OwnerQuestion.ask(session, named: configuration.owner)
            let role = answer.role == migrator ? nil : answer.role
            var settings: [Surroundings.Setting] = []
            if let role { settings = try OwnerQuestion.settings(of: role, session) }
            let isOurs = try OwnerQuestion.settings(of: migrator, session).contains {
                $0.name == "search_path"
            }
            // The plan's, then what the migrator was given for this purpose, then the owner's own.
            let path =
                configuration.searchPath
                ?? (isOurs ? sessionPath : nil)
                ?? settings.last { $0.name == "search_path" }?.value ?? sessionPath
            return Surroundings(
                owner: role,
                searchPath: Surroundings.withoutOwnSchema(path, role: role ?? migrator),
                settings: settings,
                lockTimeout: "\(configuration.lockTimeout.milliseconds)ms",
                statementTimeout: "\(configuration.statementTimeout?.milliseconds ?? 0)ms")
        }
        knownSurroundings = found
        return found
    }
}
