// SPDX-License-Identifier: Apache-2.0

import Documents
import Glibc
import UpgradeModel

extension ConfigurationBuilder {
    mutating func action(_ values: DocumentValues) -> Action? {
        let command = words(values, "command")
        let probe = values.isPresent("probe") ? words(values, "probe") : nil
        let user = values.text("user").flatMap { account($0, at: values.position(of: "user")) }
        guard let command, let timeout = values.span("timeout"),
            let outputLimit = values.count("output_limit"),
            let isRepeatable = values.flag("repeatable"),
            let awaitsSocket = values.flag("awaits_socket"),
            let answersNeeds = values.flag("answers_needs"),
            let environment = values.list("environment")
        else { return nil }
        return Action(
            command: command, user: user, timeout: timeout, outputLimit: outputLimit,
            environment: environment.map(\.text), isRepeatable: isRepeatable, probe: probe,
            awaitsSocket: awaitsSocket, answersNeeds: answersNeeds)
    }

    private mutating func words(_ values: DocumentValues, _ key: String) -> [Action.Argument]? {
        guard let words = values.list(key), !values.isFaulty(key) else { return nil }
        guard let program = words.first else {
            findings.error(
                "value", at: values.position(of: key), "`\(values.title).\(key)` names no program",
                advice: "write the program as an absolute path, and then its arguments")
            return nil
        }
        guard program.text.hasPrefix("/") else {
            findings.error(
                "value", at: program.position,
                "the program has to be an absolute path, not \(quoted(program.text))",
                advice: "there is no shell and no search path")
            return nil
        }
        if access(program.text, X_OK) != 0 {
            findings.warning(
                "not-executable", at: program.position, "\(program.text) cannot be run now")
        }
        for word in words where word.text.contains("{") {
            let argument = Action.Argument(word.text)
            if case .text = argument {
                findings.error(
                    "placeholder", at: word.position, "\(quoted(word.text)) is not a placeholder",
                    advice:
                        "{release}, {release_dir}, {socket}, {version}, {generation} or {database}, as a whole argument"
                )
            } else if argument == .socket, !hasSocket {
                refuseSocket(at: word.position)
            }
        }
        return words.map { Action.Argument($0.text) }
    }

    private mutating func refuseSocket(at position: Diagnostic.Position) {
        findings.error(
            "placeholder", at: position, "{socket} needs `application.socket`",
            advice: "say where a release listens, such as /run/shop/{release}.sock")
    }

    private mutating func account(_ name: String, at position: Diagnostic.Position) -> Account? {
        guard let account = Account.named(name) else {
            findings.error(
                "user", at: position, "there is no user \(quoted(name)) on this machine",
                advice: "make it, or leave `user` out")
            return nil
        }
        if geteuid() != 0, geteuid() != account.user {
            findings.error(
                "user", at: position, "only an agent of root can run an action as \(quoted(name))",
                advice: "run the agent as root, or leave `user` out")
        } else if geteuid() != account.user, Account.setpriv == nil {
            findings.error(
                "user", at: position,
                "to become \(quoted(name)) the agent needs setpriv, and there is none",
                advice: "install util-linux, or leave `user` out")
        }
        return account
    }

    mutating func healthCheck(_ values: DocumentValues) -> HealthCheck? {
        let destination = destination(values)
        let headers = values.list("request_headers")?.compactMap { item -> SentHeader? in
            let header = SentHeader(item.text)
            if case .file(let path)? = header?.value, access(path, R_OK) != 0 {
                findings.warning(
                    "unreadable", at: item.position, "cannot read \(path) now",
                    advice: "write the header's value into it, readable by the agent alone")
            }
            return header
        }
        guard let destination, let headers, let path = values.text("path"),
            let host = values.text("host"), let status = values.count("status"),
            let name = values.text("header.name"), let equals = values.text("header.equals"),
            let ignores = values.flag("header.ignore"), let timeout = values.span("timeout")
        else { return nil }
        return HealthCheck(
            destination: destination, script: values.text("fastcgi"), path: path, host: host,
            requestHeaders: headers,
            status: status, header: ignores ? nil : .init(name: name, value: equals),
            body: values.text("body_contains"), timeout: timeout)
    }

    private mutating func destination(_ values: DocumentValues) -> HealthCheck.Destination? {
        if ["socket", "address", "action"].contains(where: values.isFaulty) { return nil }
        switch (
            values.text("socket"), values.text("address"),
            values.name("action", as: ActionName.self)
        ) {
        case (nil, nil, let action?):
            if self.values.named("actions")?.contains(where: { $0.name == action.rawValue }) == true
            {
                return .action(action)
            }
            findings.error(
                "action", at: values.position(of: "action"),
                "\(quoted(action.rawValue)) is not among the actions of this file",
                advice: "declare it under `actions`")
        case ("{socket}"?, nil, nil):
            if hasSocket { return .applicationSocket }
            refuseSocket(at: values.position(of: "socket"))
        case (let socket?, nil, nil): return .socket(socket)
        case (nil, let address?, nil): return .address(address)
        default:
            findings.error(
                "value", at: values.position,
                "`\(values.title)` needs one of `socket`, `address` and `action`",
                advice:
                    "socket: \"{socket}\" or an absolute path; address: 127.0.0.1:80; action: is-alive"
            )
        }
        return nil
    }
}
