// SPDX-License-Identifier: Apache-2.0

@preconcurrency import Dispatch
import Synchronization

/// Says what goes on to whoever waits: every two seconds, and nothing of what is quicker.
///
/// It speaks by itself, because a sync of the disk or the digest of a large file calls nobody.
final class Progress: Sendable {
    private let begin = ContinuousClock.now
    private let text: Mutex<String>
    private let timer: any DispatchSourceTimer

    init(
        _ text: String, every milliseconds: Int = 2000,
        print: @escaping @Sendable (String) -> Void = printError
    ) {
        self.text = Mutex(text)
        timer = DispatchSource.makeTimerSource(queue: DispatchQueue(label: "progress"))
        timer.schedule(
            deadline: .now() + .milliseconds(milliseconds), repeating: .milliseconds(milliseconds))
        timer.setEventHandler { [weak self] in
            guard let self else { return }
            let seconds = (ContinuousClock.now - begin).components.seconds
            print("\(self.text.withLock { $0 }) (\(seconds) s)")
        }
        timer.activate()
    }

    deinit { timer.cancel() }

    /// What is being done from now on.
    func say(_ text: String) { self.text.withLock { $0 = text } }
}
