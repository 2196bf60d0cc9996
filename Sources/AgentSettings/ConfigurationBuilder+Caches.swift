// SPDX-License-Identifier: Apache-2.0

import CurlClient
import Documents
import UpgradeModel

extension ConfigurationBuilder {
    mutating func cache(_ values: DocumentValues) -> Cache? {
        let ways = ["purge", "directory", "action"].filter(values.isPresent)
        guard let isGeneration = values.flag("generation") else { return nil }
        guard ways.count + (isGeneration ? 1 : 0) == 1 else {
            findings.error(
                "value", at: values.position, "`\(values.title)` needs one way to be flushed",
                advice: "write one of generation: true, purge, directory, action")
            return nil
        }
        switch ways.first {
        case nil: return .generation
        case "directory": return values.text("directory").flatMap { directory($0, values) }
        case "action": return values.name("action").flatMap { action($0, values) }
        default: return purge(values)
        }
    }

    /// Whatever is emptied has to be a cache's own: a directory of the system, or one that holds them, is refused.
    private mutating func directory(_ path: String, _ values: DocumentValues) -> Cache? {
        let position = values.position(of: "directory")
        let parts = path.split(separator: "/")
        let system = [
            "bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "proc", "root", "sbin", "sys",
            "usr",
        ]
        if parts.count < 2 || system.contains(where: { $0 == parts[0] }) {
            findings.error(
                "value", at: position, "\(quoted(path)) is not a directory to be emptied",
                advice: "name one of the cache's own, at least two levels below /, such as"
                    + " /var/cache/shop/pages")
            return nil
        }
        for key in ["app", "state", "runtime"] {
            guard let ours = self.values.text("directories.\(key)"),
                ours == path || ours.hasPrefix(path + "/") || path.hasPrefix(ours + "/")
            else { continue }
            findings.error(
                "value", at: position,
                "\(quoted(path)) holds, or is in, `directories.\(key)`, which is Sluice's",
                advice: "name a directory that only this cache writes to")
            return nil
        }
        return .directory(path)
    }

    private mutating func action(_ name: ActionName, _ values: DocumentValues) -> Cache? {
        let known = (self.values.named("actions") ?? []).map(\.name)
        if known.contains(name.rawValue) { return .action(name) }
        findings.error(
            "unknown-action", at: values.position(of: "action"),
            "\(quoted(name.rawValue)) is not among this file's actions",
            advice: nearest(to: name.rawValue, among: known).map { "did you mean `\($0)`?" }
                ?? "declare it under `actions`")
        return nil
    }

    private func purge(_ values: DocumentValues) -> Cache? {
        guard let address = values.text("purge.address"),
            let method = values.text("purge.method").flatMap({ HTTPMethod($0) }),
            let host = values.text("purge.host"), let paths = values.list("purge.paths"),
            let headers = values.list("purge.headers")
        else { return nil }
        return .purge(
            .init(
                address: address, method: method, host: host, paths: paths.map(\.text),
                headers: headers.compactMap { SentHeader($0.text) }))
    }
}
