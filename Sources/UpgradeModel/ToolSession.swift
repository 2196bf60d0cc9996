// SPDX-License-Identifier: Apache-2.0

/// How the database knows the sessions of a migration tool that runs outside the write window, where no pass is needed; and
/// what it says in the window to those that do not show it.
public enum ToolSession {
    /// The fence's words, whoever writes.
    public static let refusal = "this database is read-only while an upgrade runs"

    /// Its `application_name`. PostgreSQL keeps 63 bytes of one.
    public static func name(in run: RunIdentifier) -> String {
        String("sluice-tool \(run)".prefix(63))
    }
}
