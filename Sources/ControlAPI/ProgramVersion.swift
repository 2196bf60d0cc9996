// SPDX-License-Identifier: Apache-2.0

/// The version of the programs, as `--version` says it.
///
/// Not the protocol's: that one changes only when an older side would misunderstand.
public let programVersion = "0.1.0"
