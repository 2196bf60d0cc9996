// SPDX-License-Identifier: Apache-2.0

import Logging

/// The one door to the coordinator's log: a line stays a line.
///
/// Names of files, messages of nodes and paths of requests come from outside. Characters that steer a terminal or begin a new line,
/// in whatever is logged, become `�`, and no text is longer than a few lines.
struct PrintableLogHandler: LogHandler {
    static let limit = 2000

    private var base: StreamLogHandler

    init(label: String) {
        base = .standardError(label: label)
    }

    var logLevel: Logger.Level {
        get { base.logLevel }
        set { base.logLevel = newValue }
    }

    var metadata: Logger.Metadata {
        get { base.metadata }
        set { base.metadata = newValue }
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { base[metadataKey: key] }
        set { base[metadataKey: key] = newValue }
    }

    func log(event: LogEvent) {
        var event = event
        event.message = "\(Self.printable("\(event.message)"))"
        event.metadata = event.metadata?.mapValues { Self.printable($0) }
        base.log(event: event)
    }

    private static func printable(_ value: Logger.MetadataValue) -> Logger.MetadataValue {
        .string(printable("\(value)"))
    }

    static func printable(_ text: String) -> String {
        let scalars = text.unicodeScalars.prefix(limit).map { scalar -> Unicode.Scalar in
            switch scalar.value {
            case 0x09, 0x0A, 0x0D: " "
            case 0x00...0x1F, 0x7F...0x9F, 0x200E, 0x200F, 0x2028...0x202E, 0x2066...0x2069,
                0xFEFF:
                "\u{FFFD}"
            default: scalar
            }
        }
        return String(String.UnicodeScalarView(scalars))
            + (text.unicodeScalars.count > limit ? "…" : "")
    }
}
