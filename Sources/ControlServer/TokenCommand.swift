// SPDX-License-Identifier: Apache-2.0

public import ArgumentParser
import FoundationEssentials
import RunStore
import SQLiteRunStore
import UpgradeModel

/// `sluice token`: who may talk to the coordinator. Runs on its machine, beside it or while it is stopped.
public struct TokenCommand: AsyncParsableCommand {
    public static let configuration = CommandConfiguration(
        commandName: "token", abstract: "Make and revoke tokens of nodes and operators.",
        discussion: """
            On the coordinator's machine, as the coordinator's user; the coordinator may run or not.

            EXAMPLES
              sluice token create --operator ada
              sluice token create --node web-1 --label role=web
              sluice token revoke --node web-1
            """,
        subcommands: [Create.self, Revoke.self])

    public init() {}

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a token and print it, once.",
            discussion: """
                Only its SHA-256 is kept: a token that is lost is replaced by another. A node is known, with its labels, from \
                its first token on. The token is the only line on standard output.

                Without --data, the store in \(DataOption.standard) has to be there already. With it, one is begun when there is \
                none: for a machine whose tokens are made before its coordinator first runs, with the same --data.

                EXAMPLES
                  sluice token create --node web-1 --label role=web > web-1.token
                  sluice token create --operator ada --data /srv/sluice
                  sluice token create --node web-1 --replace      # a new one; the earlier ones end
                """)

        @OptionGroup var data: DataOption
        @OptionGroup var owner: OwnerOption

        @Option(
            parsing: .singleValue,
            help: ArgumentHelp(
                "A label of the node, which plans select by; may be given again.",
                valueName: "key=value"))
        var label: [String] = []

        @Flag(help: "Revoke the earlier tokens of the same owner.")
        var replace = false

        func validate() throws {
            _ = try owner.identity()
            _ = try labels()
            if owner.operator != nil, !label.isEmpty {
                throw ValidationError("Labels belong to nodes; an operator has none.")
            }
        }

        func run() async throws {
            let identity = try owner.identity()
            let token = Token()
            let isNew = try data.begins(SQLiteRunStore.exists)
            try await data.withRegistry { registry throws(StoreFailure) in
                var labels = parsedLabels()
                if replace {
                    if labels.isEmpty, case .node(let name) = identity {
                        labels = try await registry.nodes().first { $0.name == name }?.labels ?? [:]
                    }
                    try await registry.revokeTokens(of: identity)
                }
                let now = Instant(milliseconds: Int64(Date.now.timeIntervalSince1970 * 1000))
                try await registry.addToken(
                    hash: token.hash, for: identity, labels: labels, at: now)
            }
            if isNew {
                remark(
                    "a new store was begun in \(data.directory); run the coordinator with --data \(data.directory)"
                )
            }
            remark("a token of \(identity.title), kept in \(data.directory)")
            print(token.text)
        }

        private func parsedLabels() -> [String: String] { (try? labels()) ?? [:] }

        private func labels() throws -> [String: String] {
            var labels: [String: String] = [:]
            for text in label {
                let parts = text.split(separator: "=", maxSplits: 1).map(String.init)
                guard parts.count == 2, parts.allSatisfy(isSafeName) else {
                    throw ValidationError(
                        "'\(text)' is not KEY=VALUE of letters, digits, '.', '_' and '-'.")
                }
                labels[parts[0]] = parts[1]
            }
            guard labels.count <= 64 else { throw ValidationError("A node has 64 labels at most.") }
            return labels
        }
    }

    struct Revoke: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Revoke every token of a node or an operator.",
            discussion: """
                Takes effect within a second. A node without tokens leaves the inventory.

                EXAMPLES
                  sluice token revoke --node web-1
                  sluice token revoke --operator ada --data /srv/sluice
                """)

        @OptionGroup var data: DataOption
        @OptionGroup var owner: OwnerOption

        func validate() throws { _ = try owner.identity() }

        func run() async throws {
            let identity = try owner.identity()
            try data.requireStore(SQLiteRunStore.exists)
            let wasKnown = try await data.withRegistry { registry throws(StoreFailure) in
                try await registry.revokeTokens(of: identity)
            }
            guard wasKnown else {
                throw complaint(
                    "there is no \(identity.title) in \(data.directory), so nothing was revoked; \(identity.advice)",
                    1)
            }
            remark("every token of \(identity.title) is revoked")
        }
    }
}

/// Whose token: a node's or an operator's.
struct OwnerOption: ParsableArguments {
    @Option(help: ArgumentHelp("The node.", valueName: "name"))
    var node: String?

    @Option(help: ArgumentHelp("The person or program that sends requests.", valueName: "name"))
    var `operator`: String?

    func identity() throws -> Identity {
        let advice = "names have 1 to 64 letters, digits, '.', '_' and '-'."
        switch (node, `operator`) {
        case (let text?, nil):
            guard let name = NodeName(rawValue: text) else {
                throw ValidationError("'\(text)' is not a name of a node: \(advice)")
            }
            return .node(name)
        case (nil, let text?):
            guard let name = OperatorName(rawValue: text) else {
                throw ValidationError("'\(text)' is not a name of an operator: \(advice)")
            }
            return .operator(name)
        case (nil, nil), (_?, _?):
            throw ValidationError("Give either --node NAME or --operator NAME.")
        }
    }
}

extension DataOption {
    /// Whether a new store is about to be begun: only where the operator named its directory.
    func begins(_ exists: (String) -> Bool) throws -> Bool {
        if given == nil { try requireStore(exists) }
        return !exists(directory)
    }

    /// A store that the coordinator does not use has tokens that nobody accepts.
    func requireStore(_ exists: (String) -> Bool) throws {
        guard !exists(directory) else { return }
        let advice =
            given == nil
            ? "give the coordinator's own --data here as well, or start `sluice coordinator` first"
            : "look for the coordinator's own --data"
        throw complaint("there is no store in \(directory); \(advice)", 3)
    }

    /// Opens the registry beside a running coordinator, and closes it again.
    func withRegistry<Value>(
        _ work: (any Registry) async throws(StoreFailure) -> Value
    ) async throws -> Value {
        do throws(StoreFailure) {
            let store = try await SQLiteRunStore(directory: directory, examine: .none)
            let value = try await work(store)
            await store.close()
            return value
        } catch {
            throw complaint("\(error.reason)", 1)
        }
    }
}

extension Identity {
    /// For people.
    var title: String {
        switch self {
        case .node(let name): "node \(name)"
        case .operator(let name): "operator \(name)"
        }
    }

    /// Where to look for the name that was meant.
    var advice: String {
        switch self {
        case .node: "`sluice nodes` shows the nodes there are"
        case .operator: "check the name: runs and reports show by whom they were started"
        }
    }
}

/// Says it on standard error; standard output has the token alone.
private func remark(_ message: String) { _ = complaint(message, 0) }

extension StoreFailure {
    fileprivate var reason: String {
        switch self {
        case .rejected(let why), .full(let why), .corrupt(let why), .io(let why),
            .notFound(let why):
            why
        default: "\(self)"
        }
    }
}
