// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import UpgradeModel

/// What there is to tell the pages that listen.
struct PageNews: Hashable, Sendable {
    var setting: GateSetting
    var release: String?
    /// When the gate is to close.
    var begins: Instant?

    /// Whether pages hear the same of both. A gate that holds reads as well is no news to them.
    func isSaid(as other: PageNews) -> Bool {
        begins == other.begins && settled == other.settled
    }

    private var settled: ModeEvent {
        var news = self
        news.begins = nil
        return ModeEvent(news, at: Instant(milliseconds: 0))
    }
}

/// What a page is told as a server-sent event: all that is so now, so that a page that comes late or comes back needs nothing else.
struct ModeEvent: Encodable, Hashable {
    var readOnly: Bool
    var retryAfterSeconds: Int64
    var message: String
    var writes: Writes
    /// The activation that the node serves, as the proxy says it in `X-Sluice-Release`.
    var release: String?
    /// Until the gate is to close: of the time in which it is sent, since clocks of browsers are wrong.
    var startsInSeconds: Int64?

    struct Writes: Encodable, Hashable {
        /// As in `mode.json`.
        var kind: String
    }

    init(_ news: PageNews, at now: Instant) {
        let setting = news.setting
        let mode = ModeFile(setting)
        readOnly = mode.readOnly
        retryAfterSeconds = mode.retryAfterSeconds
        message = mode.message
        writes = Writes(kind: mode.writes.kind)
        release = news.release
        // Announced by a run of which nothing has been heard since: forgotten after a minute.
        if !readOnly, let begins = news.begins, now < begins + .seconds(60) {
            startsInSeconds = max(0, (begins - now).milliseconds / 1000)
        }
    }

    /// One event of a stream.
    var bytes: [UInt8] {
        let encoder = JSONEncoder()
        // On one line: a line feed in a message is escaped, and ends no event.
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // Strings, integers and booleans: encoding them cannot fail.
        guard let data = try? encoder.encode(self) else { preconditionFailure("an event encodes") }
        return Array("data: ".utf8) + Array(data) + [10, 10]
    }
}
