// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Runs something on a thread of its own, until it returns.
func startThread(_ name: String, _ run: @escaping () -> Void) throws(GateError) {
    let context = ThreadContext(run)
    var thread = pthread_t()
    // SAFETY: the thread takes over the one reference to the context; nothing else has one.
    let raw = Unmanaged.passRetained(context).toOpaque()
    let result = pthread_create(&thread, nil, runThread, raw)
    guard result == 0 else {
        Unmanaged<ThreadContext>.fromOpaque(raw).release()
        throw GateError(
            .socket, "cannot start \(name): \(String(cString: strerror(result)))",
            advice: "raise the limit of processes and threads (systemd: TasksMax)")
    }
    pthread_detach(thread)
}

/// What a thread is handed when it starts.
private final class ThreadContext {
    let run: () -> Void
    init(_ run: @escaping () -> Void) { self.run = run }
}

private func runThread(_ raw: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    guard let raw else { return nil }
    // SAFETY: `startThread` retained the context for this thread, which is started once.
    Unmanaged<ThreadContext>.fromOpaque(raw).takeRetainedValue().run()
    return nil
}
