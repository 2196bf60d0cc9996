// SPDX-License-Identifier: Apache-2.0

import ContentDigest
import Files
import UpgradeModel

/// Makes the secret that lets a migration tool's sessions through the fence.
///
/// It is a keyed hash (HMAC-SHA-256, RFC 2104) of the task's identity: the key never leaves the node, each run of a tool has another
/// secret, and an agent that starts anew makes the same for the same run.
struct PassMaker: Sendable {
    /// The file with the key; made when it is needed first.
    var file: String

    /// What the node has to say of a pass that it is asked for.
    ///
    /// - Parameter problem: why it may not run what is asked.
    func offer(_ goal: PassGoal, problem: String?) -> PassOffer {
        if let problem { return PassOffer(task: goal.task, digest: nil, problem: problem) }
        do throws(SystemFailure) {
            return PassOffer(task: goal.task, digest: .sha256(of: try secret(of: goal.task)))
        } catch {
            return PassOffer(
                task: goal.task, digest: nil,
                problem: "the secret for the migration tool cannot be made: \(error)")
        }
    }

    /// What a tool's process gets in its environment. Direct connections only: a pooler drops start-up options.
    ///
    /// - Parameter options: what `PGOPTIONS` is without it.
    func environment(of task: TaskIdentity, options: String?) throws(SystemFailure) -> [String:
        String]
    {
        let secret = try secret(of: task)
        let own = "-c sluice.pass=\(secret) -c default_transaction_read_only=off"
        return [
            "PGOPTIONS": [options, own].compactMap { $0 }.filter { !$0.isEmpty }
                .joined(separator: " "),
            "SLUICE_PASS_PARAMETER":
                "options=-c%20sluice.pass%3D\(secret)%20-c%20default_transaction_read_only%3Doff",
        ]
    }

    func secret(of task: TaskIdentity) throws(SystemFailure) -> String {
        let key = try key()
        func padded(_ byte: UInt8) -> [UInt8] {
            (0..<64).map { (($0 < key.count) ? key[$0] : 0) ^ byte }
        }
        let inner = Digest.sha256(of: padded(0x36) + Array(task.rawValue.utf8))
        return Digest.sha256(of: padded(0x5C) + inner.bytes).hexadecimal
    }

    private static let keySize = 32

    private func key() throws(SystemFailure) -> [UInt8] {
        if let found = try? readFile(file, atMost: PassMaker.keySize),
            found.count == PassMaker.keySize
        {
            return found
        }
        var generator = SystemRandomNumberGenerator()
        let fresh = (0..<PassMaker.keySize).map { _ in
            UInt8.random(in: .min ... .max, using: &generator)
        }
        try onFiles { () throws(FileFailure) in
            try replaceFile(file, with: fresh, mode: 0o600)
        }
        return fresh
    }
}
