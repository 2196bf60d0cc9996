// SPDX-License-Identifier: Apache-2.0

import CurlClient
import Glibc
import UpgradeModel
import Yams

extension ConfigurationBuilder {
    func action(_ section: ConfigurationSection, hasSocket: Bool) -> Action? {
        defer { section.finish() }
        let words = command(section, "command", required: true, hasSocket: hasSocket)
        let probe = command(section, "probe", required: false, hasSocket: hasSocket)
        let user = section.text("user").flatMap { account($0, section) }
        let environment = section.texts("environment").compactMap { name, mark -> String? in
            if isVariable(name), name != "PATH", !name.hasPrefix("SLUICE_"), !name.hasPrefix("LD_")
            {
                return name
            }
            findings.error(
                "value", at: mark, "`\(name)` cannot be passed on",
                advice:
                    "name a variable of the agent's environment; PATH, SLUICE_* and LD_* are not")
            return nil
        }
        let action = Action(
            command: words ?? [], user: user,
            timeout: section.span(
                "timeout", default: .seconds(60), from: .milliseconds(100), to: .minutes(1440)),
            outputLimit: section.number("output_limit", default: 1 << 20, in: 4096...(64 << 20)),
            environment: environment, isRepeatable: section.boolean("repeatable", default: false),
            probe: probe)
        return words == nil ? nil : action
    }

    private func command(
        _ section: ConfigurationSection, _ key: String, required: Bool, hasSocket: Bool
    ) -> [Action.Argument]? {
        let words = section.texts(key, required: required)
        guard let program = words.first else { return nil }
        guard program.text.hasPrefix("/") else {
            findings.error(
                "value", at: program.mark,
                "the program has to be an absolute path, not `\(program.text)`",
                advice: "there is no shell and no search path")
            return nil
        }
        if access(program.text, X_OK) != 0 {
            findings.warning(
                "not-executable", at: program.mark, "\(program.text) cannot be run now")
        }
        for word in words where word.text.contains("{") {
            let argument = Action.Argument(word.text)
            if case .text = argument {
                findings.error(
                    "placeholder", at: word.mark, "`\(word.text)` is not a placeholder",
                    advice: "{release}, {release_dir} or {socket}, as a whole argument")
            } else if argument == .socket, !hasSocket {
                findings.error(
                    "placeholder", at: word.mark, "{socket} needs `application.socket`")
            }
        }
        return words.map { Action.Argument($0.text) }
    }

    private func isVariable(_ name: String) -> Bool {
        !name.isEmpty
            && name.utf8.allSatisfy { ($0 >= 65 && $0 <= 90) || ($0 >= 48 && $0 <= 57) || $0 == 95 }
    }

    private func account(_ name: String, _ section: ConfigurationSection) -> Action.Account? {
        // SAFETY: the entry's pointers lead into `buffer`, which lives as long; only numbers are used afterwards.
        var entry = passwd()
        var found: UnsafeMutablePointer<passwd>?
        var buffer = [CChar](repeating: 0, count: 65_536)
        guard getpwnam_r(name, &entry, &buffer, buffer.count, &found) == 0, found != nil else {
            findings.error("user", at: section.mark, "there is no user `\(name)` on this machine")
            return nil
        }
        guard geteuid() == 0 || geteuid() == entry.pw_uid else {
            findings.error(
                "user", at: section.mark, "only an agent of root can run an action as `\(name)`",
                advice: "run the agent as root, or leave `user` out")
            return nil
        }
        if geteuid() != entry.pw_uid, ActionRunner.setpriv == nil {
            findings.error(
                "user", at: section.mark,
                "to become `\(name)` the agent needs setpriv, and there is none",
                advice: "install util-linux, or leave `user` out")
            return nil
        }
        var count: Int32 = 256
        var groups = [gid_t](repeating: 0, count: Int(count))
        let listed = getgrouplist(name, entry.pw_gid, &groups, &count)
        let supplementary = listed >= 0 ? Array(groups.prefix(Int(count))) : [entry.pw_gid]
        return Action.Account(
            name: name, user: entry.pw_uid, group: entry.pw_gid, groups: supplementary)
    }

    func healthCheck(_ section: ConfigurationSection, hasSocket: Bool) -> HealthCheck? {
        defer { section.finish() }
        let socket = section.text("socket")
        let address = section.text("address")
        let path = section.text("path") ?? "/"
        let host = section.text("host") ?? "localhost"
        let header = section.section("header")
        let headerName = header.text("name") ?? "X-Release"
        let headerValue = header.text("equals") ?? "{release}"
        let ignoresHeader = header.boolean("ignore", default: false)
        header.finish()
        let check = HealthCheck(
            destination: .applicationSocket, path: path, host: host,
            status: section.number("status", default: 200, in: 200...599),
            header: ignoresHeader
                ? nil
                : .init(name: headerName, value: headerValue == "{release}" ? nil : headerValue),
            body: section.text("body_contains"),
            timeout: section.span(
                "timeout", default: .seconds(2), from: .milliseconds(50), to: .minutes(1)))
        guard path.hasPrefix("/"), !path.contains(" ") else {
            findings.error(
                "value", at: section.mark,
                "`\(section.path).path` has to begin with / and have no spaces")
            return nil
        }
        guard let destination = destination(socket, address, section, hasSocket: hasSocket) else {
            return nil
        }
        var complete = check
        complete.destination = destination
        return complete
    }

    private func destination(
        _ socket: String?, _ address: String?, _ section: ConfigurationSection, hasSocket: Bool
    ) -> HealthCheck.Destination? {
        switch (socket, address) {
        case ("{socket}"?, nil):
            if hasSocket { return .applicationSocket }
            findings.error("placeholder", at: section.mark, "{socket} needs `application.socket`")
        case (let socket?, nil) where socket.hasPrefix("/"): return .socket(socket)
        case (nil, let address?) where isAddress(address): return .address(address)
        default:
            findings.error(
                "value", at: section.mark, "`\(section.path)` needs one of `socket` and `address`",
                advice: "socket: \"{socket}\" or an absolute path; address: 127.0.0.1:80")
        }
        return nil
    }

    /// `host:port` of a literal address or a plain name.
    private func isAddress(_ text: String) -> Bool {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, let port = UInt16(parts[1]), port > 0 else { return false }
        return isSafeName(String(parts[0]))
    }

    func cache(_ section: ConfigurationSection, actions: [ActionName]) -> Cache? {
        defer { section.finish() }
        let isGeneration = section.boolean("generation", default: false)
        let directory = section.path("directory")
        let action = section.text("action")
        let hasPurge = section.node("purge") != nil
        switch (isGeneration, directory, action, hasPurge) {
        case (true, nil, nil, false): return .generation
        case (false, let directory?, nil, false):
            guard directory.split(separator: "/").count >= 2 else {
                findings.error(
                    "value", at: section.mark, "`\(directory)` is not a directory to be emptied",
                    advice: "name one at least two levels below /")
                return nil
            }
            return .directory(directory)
        case (false, nil, let action?, false):
            if let name = ActionName(rawValue: action), actions.contains(name) {
                return .action(name)
            }
            findings.error(
                "unknown-action", at: section.mark, "`\(action)` is not among this file's actions",
                advice: "declare it under `actions`")
            return nil
        case (false, nil, nil, true): return purge(section.section("purge"))
        default:
            findings.error(
                "value", at: section.mark, "`\(section.path)` needs one way to be flushed",
                advice: "write one of generation: true, purge, directory, action")
            return nil
        }
    }

    private func purge(_ section: ConfigurationSection) -> Cache? {
        defer { section.finish() }
        let address = section.requiredText("address")
        let method = section.text("method") ?? "PURGE"
        let host = section.text("host") ?? "localhost"
        let paths = section.texts("paths").map(\.text)
        let headers = section.texts("headers").compactMap { text, mark -> HTTPHeader? in
            if let colon = text.firstIndex(of: ":"), colon != text.startIndex {
                let value = text[text.index(after: colon)...].drop { $0 == " " }
                return HTTPHeader(String(text[..<colon]), String(value))
            }
            findings.error("value", at: mark, "`\(text)` is not `Name: value`")
            return nil
        }
        guard let address else { return nil }
        guard isAddress(address), let verb = HTTPMethod(method),
            ["PURGE", "BAN", "DELETE"].contains(method)
        else {
            findings.error(
                "value", at: section.mark,
                "`\(section.path)` needs `address` as HOST:PORT and PURGE, BAN or DELETE")
            return nil
        }
        guard paths.allSatisfy({ $0.hasPrefix("/") && !$0.contains(" ") }) else {
            findings.error(
                "value", at: section.mark, "`\(section.path).paths` have to begin with /")
            return nil
        }
        return .purge(
            .init(
                address: address, method: verb, host: host, paths: paths.isEmpty ? ["/"] : paths,
                headers: headers))
    }
}
