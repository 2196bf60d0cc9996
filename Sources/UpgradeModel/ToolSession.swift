// SPDX-License-Identifier: Apache-2.0

/// How the database knows the sessions of a migration tool that runs outside the write window, where no pass is needed.
public enum ToolSession {
    /// Its `application_name`. PostgreSQL keeps 63 bytes of one.
    public static func name(in run: RunIdentifier) -> String {
        String("sluice-tool \(run)".prefix(63))
    }
}
