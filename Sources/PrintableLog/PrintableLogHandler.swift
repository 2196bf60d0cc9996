// SPDX-License-Identifier: Apache-2.0

public import Logging
internal import UpgradeModel

/// Writes to standard error, with everything in an event made ``UpgradeModel/printable(_:)`` first.
public struct PrintableLogHandler: LogHandler {
    private var base: any LogHandler

    public init(label: String) { self.init(StreamLogHandler.standardError(label: label)) }

    /// For tests: what is written goes through another handler.
    init(_ base: any LogHandler) { self.base = base }

    public func log(event: LogEvent) {
        var event = event
        event.message = "\(printable(event.message.description))"
        if let error = event.error {
            event.error = PrintableError(description: printable("\(error)"))
        }
        event.metadata = event.metadata?.mapValues { "\(printable("\($0)"))" }
        base.log(event: event)
    }

    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { base[metadataKey: key] }
        set { base[metadataKey: key] = newValue }
    }

    public var metadata: Logger.Metadata {
        get { base.metadata }
        set { base.metadata = newValue }
    }

    public var metadataProvider: Logger.MetadataProvider? {
        get { base.metadataProvider }
        set { base.metadataProvider = newValue }
    }

    public var logLevel: Logger.Level {
        get { base.logLevel }
        set { base.logLevel = newValue }
    }
}

private struct PrintableError: Error, CustomStringConvertible {
    var description: String
}
