// SPDX-License-Identifier: Apache-2.0

/// A name that is safe in a path, a URL, a unit name and a log line.
///
/// 1 to 64 characters of `A-Z a-z 0-9 . _ -`, beginning with a letter or a digit, and without `..`. A name that comes from
/// outside is parsed into one of these before anything is done with it, so `../` or a leading `-` cannot travel further.
public protocol SafeName: RawRepresentable, Hashable, Comparable, Codable, Sendable,
    CustomStringConvertible, LosslessStringConvertible
where RawValue == String {
    init(unchecked rawValue: String)
}

extension SafeName {
    /// - Returns: `nil` when the text is not a safe name.
    public init?(rawValue: String) {
        guard isSafeName(rawValue) else { return nil }
        self.init(unchecked: rawValue)
    }

    /// - Returns: `nil` when the text is not a safe name.
    public init?(_ description: String) { self.init(rawValue: description) }

    public var description: String { rawValue }

    public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

/// Whether a text is 1 to 64 characters of `A-Z a-z 0-9 . _ -`, begins with a letter or a digit and has no `..`.
public func isSafeName(_ text: String) -> Bool {
    let bytes = Array(text.utf8)
    guard (1...64).contains(bytes.count) else { return false }
    func isAlphanumeric(_ byte: UInt8) -> Bool {
        (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
    }
    guard isAlphanumeric(bytes[0]) else { return false }
    var previous: UInt8 = 0
    for byte in bytes {
        let isDot = byte == 46
        if isDot && previous == 46 { return false }
        guard isAlphanumeric(byte) || isDot || byte == 45 || byte == 95 else { return false }
        previous = byte
    }
    return true
}

/// The name of a web node, as the coordinator's inventory and the node's token have it.
public struct NodeName: SafeName {
    public let rawValue: String
    public init(unchecked rawValue: String) { self.rawValue = rawValue }
}

/// The name of a fleet: the nodes that are upgraded together. One run at a time.
public struct FleetName: SafeName {
    public let rawValue: String
    public init(unchecked rawValue: String) { self.rawValue = rawValue }
}

/// The name of a release, such as `v2` or `2026.11.3`.
public struct ReleaseName: SafeName {
    public let rawValue: String
    public init(unchecked rawValue: String) { self.rawValue = rawValue }
}

/// The name of one of a plan's databases; the one under `database` is called `default`.
public struct DatabaseName: SafeName {
    public let rawValue: String
    public init(unchecked rawValue: String) { self.rawValue = rawValue }

    public static let `default` = DatabaseName(unchecked: "default")
}

/// The name of an action that a node's own configuration allows.
public struct ActionName: SafeName {
    public let rawValue: String
    public init(unchecked rawValue: String) { self.rawValue = rawValue }
}

/// The name of a cache that a node's own configuration declares.
public struct CacheName: SafeName {
    public let rawValue: String
    public init(unchecked rawValue: String) { self.rawValue = rawValue }
}

/// The name of a health check that a node's own configuration declares.
public struct HealthCheckName: SafeName {
    public let rawValue: String
    public init(unchecked rawValue: String) { self.rawValue = rawValue }
}

/// The name of a person or program that sends requests, as its token has it.
public struct OperatorName: SafeName {
    public let rawValue: String
    public init(unchecked rawValue: String) { self.rawValue = rawValue }
}

/// One execution of a plan. Made by the coordinator; sorts by the time of its creation.
public struct RunIdentifier: SafeName {
    public let rawValue: String
    public init(unchecked rawValue: String) { self.rawValue = rawValue }
}

extension SafeName {
    public init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        guard let name = Self(rawValue: text) else {
            throw DecodingError.dataCorrupted(
                .init(
                    codingPath: decoder.codingPath,
                    debugDescription:
                        "not a name: 1 to 64 of A-Z a-z 0-9 . _ - beginning with a letter or digit")
            )
        }
        self = name
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(rawValue)
    }
}
