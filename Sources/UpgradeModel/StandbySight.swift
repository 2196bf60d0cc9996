// SPDX-License-Identifier: Apache-2.0

/// What is to be seen of a standby that is frozen, and of what keeping it so costs.
public enum StandbySight: Hashable, Sendable {
    /// It answers, as it was frozen.
    case frozen
    /// It has not answered for some time; why, for people.
    case silent(String)
    /// It answers, and is not what was frozen: nobody may read there any more, and it is no way back. What it is, for people.
    case thawed(String)
    /// It is as it was frozen, and the run should not go on nevertheless.
    case trouble(DatabaseFailure)
}
