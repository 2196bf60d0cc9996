// SPDX-License-Identifier: Apache-2.0

/// How much of a database a fence holds.
public enum FenceLevel: String, Hashable, Sendable, CaseIterable {
    /// Everything; the migrator is a superuser.
    case complete
    /// What the roles that own the tables can close themselves; the migrator is a member of them and no superuser. What is
    /// left open is a ``FenceGap``.
    case owner
}

/// What a fence of level ``FenceLevel/owner`` may be unable to hold in a database. A plan accepts each by its word.
public enum FenceGap: String, Hashable, Sendable, CaseIterable {
    /// Whoever owns something, or may create it, changes what there is, the fence's own triggers among it: only event triggers
    /// see that, and only superusers make them.
    case definitions
    /// Large objects, and messages in the log of changes: functions of PostgreSQL's own, which everybody may call.
    case largeObjects = "large-objects"
    /// Functions that run as a superuser: they draw from sequences, write large objects and change definitions.
    case definerFunctions = "definer-functions"
    /// Numbers of sequences whose rights the migrator cannot take.
    case sequences
    /// Tables of roles that the migrator does not belong to: they get no trigger.
    case strangersTables = "strangers-tables"
    /// Roles that may create roles, and so make themselves members of others.
    case createrole
    /// Roles that may become the migrator.
    case migratorMembers = "migrator-members"
    /// The application's event triggers see Sluice's own statements.
    case eventTriggers = "event-triggers"
}
