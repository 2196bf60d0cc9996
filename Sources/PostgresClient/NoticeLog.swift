// SPDX-License-Identifier: Apache-2.0

/// The notices of one session: bounded, the oldest kept.
///
/// libpq calls back while a statement runs, on the thread that runs it, so one thread at a time touches it.
final class NoticeLog {
    static let mostNotices = 100
    static let longestNotice = 1000
    private(set) var notices: [String] = []

    func add(_ notice: String) {
        guard notices.count < NoticeLog.mostNotices else { return }
        var text = Substring(notice.prefix(NoticeLog.longestNotice))
        while text.last?.isNewline == true { text.removeLast() }
        notices.append(String(text))
    }

    func take() -> [String] {
        defer { notices = [] }
        return notices
    }
}
