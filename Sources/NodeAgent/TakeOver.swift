// SPDX-License-Identifier: Apache-2.0

import AgentSettings
import Files
import Glibc
import Releases
import UpgradeModel

/// What another tool serves here, as this node's configuration takes it over.
///
/// What the tool's releases share stays where it is: `shared` beneath the application's directory gets a link to each, so that both
/// tools have the same uploads, logs and secrets for as long as both are there.
struct TakeOver {
    let deployed: DeployedRelease
    let configuration: AgentConfiguration

    init(from root: String, _ configuration: AgentConfiguration) throws(Bundle.NotABundle) {
        deployed = try DeployedRelease(under: root, sharing: configuration.releases.shared)
        self.configuration = configuration
    }

    private var directory: String { configuration.directories.app + "/shared" }

    /// Where each shared path of the configuration leads that the tool has: its own link, or the same path in its `shared`.
    private var targets: [(path: String, target: String)] {
        configuration.shared.compactMap { path in
            if let found = deployed.shared.first(where: { $0.path.text == path }) {
                return (path, found.target)
            }
            let usual = "\(deployed.root)/shared/\(path)"
            return access(usual, F_OK) == 0 ? (path, usual) : nil
        }
    }

    /// What was done, once it is.
    var said: Adopted.TakenOver {
        var shared: [String: String] = [:]
        for path in configuration.shared {
            let place = "\(directory)/\(path)"
            shared[path] = (try? linkTarget(place)) ?? place
        }
        return Adopted.TakenOver(
            tool: deployed.tool, root: deployed.root, release: deployed.servedName, shared: shared)
    }

    /// Every later release needs what this one has through its links, so the configuration has to name it first.
    func refuseWhatIsNotShared() throws(Bundle.NotABundle) {
        let own = configuration.releases.shared
        let lacking = deployed.shared.filter { entry in
            !own.contains { entry.path == $0 || entry.path.relative(to: $0) != nil }
        }
        guard !lacking.isEmpty else { return }
        let all = (configuration.shared + lacking.map(\.path.text)).sorted()
        var findings = lacking.map { entry in
            Diagnostic(
                .error, code: "adopt-shared",
                "\(entry.path) is a link to \(entry.target), which \(deployed.tool) gives to each of its releases, and "
                    + "`application.shared` does not name it")
        }
        findings[findings.count - 1].advice =
            "write this into \(configuration.file), then run the same command again (nothing was made):\n\napplication:\n  shared:\n"
            + all.map { "    - \(TakeOver.quoted($0))" }.joined(separator: "\n") + "\n\n"
        throw Bundle.NotABundle(findings: findings)
    }

    /// Makes what the configuration's `shared` lacks: links to where the tool has it. What is there stays as it is.
    func share() throws(SystemFailure) {
        for (path, target) in targets {
            let link = "\(directory)/\(path)"
            var status = stat()
            if lstat(link, &status) == 0 { continue }
            try onFiles { () throws(FileFailure) in
                let parent = parentDirectory(of: link)
                try makeDirectories(parent, mode: 0o755)
                guard symlink(target, link) == 0 else {
                    throw FileFailure("make the link", link, errno)
                }
                try syncDirectory(parent)
            }
        }
    }

    /// A deploy that ended meanwhile has made another release the one that is served.
    func refuseAnother() throws(SystemFailure) {
        guard !deployed.isServed else { return }
        throw SystemFailure(
            "\(deployed.root)/current has been moved to another release meanwhile; let nobody deploy, and run this again"
        )
    }

    /// A text as YAML reads it back: bare when it cannot be taken for a number or a word of YAML's.
    private static func quoted(_ path: String) -> String {
        let words = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
        let isPlain =
            path.utf8.allSatisfy {
                (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0)
                    || [45, 46, 47, 95].contains($0)
            } && path.utf8.contains { (65...90).contains($0) || (97...122).contains($0) }
            && !(45...57).contains(path.utf8.first { $0 != 46 } ?? 45)
        let isWord = words.contains(path.lowercased())
        return isPlain && !isWord ? path : "'" + path.replacing("'", with: "''") + "'"
    }
}
