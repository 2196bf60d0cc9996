// SPDX-License-Identifier: Apache-2.0

internal import Files

/// One process of this machine; a number that is used again is another one.
public struct ProcessIdentity: Hashable, Sendable {
    public var number: Int32
    /// When it began, in the kernel's ticks since the boot.
    public var start: UInt64
}

/// What `/proc/PID/stat` says of a process (proc_pid_stat(5)).
struct ProcessStatus: Hashable {
    var identity: ProcessIdentity
    /// The program's name, at most 15 bytes.
    var name: String
    var state: UInt8
    var parent: Int32
    var group: Int32
    var hasTerminal: Bool
    var isOfKernel: Bool

    var number: Int32 { identity.number }
    /// Stopped by a signal; a tracer that stops it (`t`) lets it go on whenever it likes.
    var isStopped: Bool { state == UInt8(ascii: "T") }
    /// Ended, whether or not its parent has noticed.
    var isOver: Bool { state == UInt8(ascii: "Z") || state == UInt8(ascii: "X") }
}

extension ProcessStatus {
    /// - Returns: `nil` when it is gone.
    init?(number: Int32) {
        guard let bytes = try? readFile("/proc/\(number)/stat", atMost: 4096) else { return nil }
        self.init(number: number, stat: bytes)
    }

    /// The name may have anything in it, so the fields are counted from its last bracket on.
    init?(number: Int32, stat bytes: [UInt8]) {
        guard let open = bytes.firstIndex(of: UInt8(ascii: "(")),
            let close = bytes.lastIndex(of: UInt8(ascii: ")")), open < close
        else { return nil }
        // Numbered from 3 in the manual: 3 state, 4 ppid, 5 pgrp, 7 tty_nr, 9 flags, 22 starttime.
        let fields = bytes[(close + 1)...].split(separator: UInt8(ascii: " "), maxSplits: 20)
        guard fields.count > 19, let state = fields[0].first, let parent = Int32(digits: fields[1]),
            let group = Int32(digits: fields[2]), let terminal = Int32(digits: fields[4]),
            let flags = UInt32(digits: fields[6]), let start = UInt64(digits: fields[19])
        else { return nil }
        identity = ProcessIdentity(number: number, start: start)
        name = String(decoding: bytes[(open + 1)..<close], as: UTF8.self)
        self.state = state
        self.parent = parent
        self.group = group
        hasTerminal = terminal != 0
        isOfKernel = flags & 0x0020_0000 != 0
    }
}

extension FixedWidthInteger {
    /// A decimal number, without a text being made of it.
    fileprivate init?(digits: some Collection<UInt8>) {
        let isNegative = digits.first == UInt8(ascii: "-")
        var value: Self = 0
        for digit in digits.dropFirst(isNegative ? 1 : 0) {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digit) else { return nil }
            let (shifted, isTooLong) = value.multipliedReportingOverflow(by: 10)
            let (sum, isTooLarge) = shifted.addingReportingOverflow(Self(digit - UInt8(ascii: "0")))
            if isTooLong || isTooLarge { return nil }
            value = sum
        }
        guard digits.count > (isNegative ? 1 : 0) else { return nil }
        self = isNegative ? 0 - value : value
    }
}

/// The kernel's list of processes.
enum ProcessTable {
    /// - Parameter known: processes that need not be read again, by their numbers.
    static func all(known: [Int32: ProcessStatus] = [:]) -> [ProcessStatus] {
        numbers(in: "/proc").compactMap { known[$0] ?? ProcessStatus(number: $0) }
    }

    /// Every thread of a process is stopped: one that is between the signal and its stop may still write.
    static func isWhollyStopped(_ process: ProcessIdentity) -> Bool {
        let tasks = "/proc/\(process.number)/task"
        return numbers(in: tasks).allSatisfy { number in
            guard let bytes = try? readFile("\(tasks)/\(number)/stat", atMost: 4096),
                let thread = ProcessStatus(number: number, stat: bytes)
            else { return true }
            return thread.isStopped || thread.isOver
        }
    }

    static func numbers(in directory: String) -> [Int32] {
        let names = (try? directoryNames(directory)) ?? []
        return names.compactMap { Int32(String(decoding: $0, as: UTF8.self)) }
    }
}
