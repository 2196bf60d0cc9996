// SPDX-License-Identifier: Apache-2.0

public import ArgumentParser
import ControlServer
import Files
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

                For many nodes give --node more than once, or --file with a node's name on each line and its labels behind it; \
                then each line of the output is a name and its token. All of them are made, or none.

                Without --data, the store in \(DataOption.defaultDirectory) has to be there already. With it, one is begun when there is \
                none: for a machine whose tokens are made before its coordinator first runs, with the same --data.

                EXAMPLES
                  sluice token create --node web-1 --label role=web > web-1.token
                  sluice token create --operator ada --data /srv/sluice
                  sluice token create --node web-1 --replace      # a new one; the earlier ones end
                  sluice token create --file nodes.txt --label role=web > tokens.txt
                """)

        @OptionGroup var data: DataOption
        @OptionGroup var owner: OwnerOption

        @Option(
            help: ArgumentHelp(
                "Nodes, one a line: NAME, or NAME KEY=VALUE…; lines that begin with # are left out.",
                valueName: "file"))
        var file: String?

        @Option(
            parsing: .singleValue,
            help: ArgumentHelp(
                "A label of every node given, which plans select by; may be given again.",
                valueName: "key=value"))
        var label: [String] = []

        @Flag(help: "Revoke the earlier tokens of the same owner.")
        var replace = false

        func validate() throws {
            _ = try owner.identities(besides: file)
            _ = try labels(label)
            if owner.operator != nil, !label.isEmpty {
                throw ValidationError("Labels belong to nodes; an operator has none.")
            }
        }

        func run() async throws {
            let owners = try owners()
            let isNew = try data.begins(SQLiteRunStore.exists)
            let tokens = owners.map { (owner: $0, token: Token()) }
            let replace = replace
            try await data.withStore { store throws(StoreFailure) in
                let now = Instant(milliseconds: Int64(Date.now.timeIntervalSince1970 * 1000))
                try await store.addTokens(
                    tokens.map {
                        NewToken(
                            hash: $0.token.hash, identity: $0.owner.identity,
                            labels: $0.owner.labels, replaces: replace)
                    }, at: now)
            }
            if isNew {
                remark(
                    "a new store was begun in \(data.directory); run the coordinator with --data \(data.directory)"
                )
            }
            if let only = tokens.first, tokens.count == 1, file == nil {
                remark("a token of \(only.owner.identity.title), kept in \(data.directory)")
                print(only.token.text)
            } else {
                remark("\(tokens.count) tokens, kept in \(data.directory)")
                for (owner, token) in tokens { print("\(owner.identity.name) \(token.text)") }
            }
        }

        private struct Owner {
            var identity: Identity
            var labels: [String: String]
        }

        private func owners() throws -> [Owner] {
            let common = try labels(label)
            var owners = try owner.identities(besides: file).map {
                Owner(identity: $0, labels: common)
            }
            if let file { owners += try nodes(in: file, common) }
            var seen: Set<Identity> = []
            for owner in owners where !seen.insert(owner.identity).inserted {
                throw complaint("\(owner.identity.title) is named twice; name each once", 1)
            }
            guard !owners.isEmpty else { throw complaint("\(file ?? "") names no node", 1) }
            return owners
        }

        private func nodes(in file: String, _ common: [String: String]) throws -> [Owner] {
            let text: String
            do throws(FileFailure) {
                text = try readTextFile(file, atMost: 8 << 20)
            } catch {
                throw complaint("\(error)", 1)
            }
            var owners: [Owner] = []
            let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
            for (index, line) in lines.enumerated() {
                let words = line.split(whereSeparator: \.isWhitespace).map(String.init)
                guard let first = words.first, !first.hasPrefix("#") else { continue }
                guard let name = NodeName(rawValue: first),
                    let own = try? labels(Array(words.dropFirst()))
                else {
                    throw complaint(
                        "\(file):\(index + 1): this is not NAME KEY=VALUE… of letters, digits, '.', '_' and '-'",
                        1)
                }
                owners.append(
                    Owner(identity: .node(name), labels: common.merging(own) { $1 }))
            }
            return owners
        }

        private func labels(_ texts: [String]) throws -> [String: String] {
            var labels: [String: String] = [:]
            for text in texts {
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

        func validate() throws { _ = try owner.identities() }

        func run() async throws {
            let identities = try owner.identities()
            try data.requireStore(SQLiteRunStore.exists)
            let unknown = try await data.withStore { store throws(StoreFailure) in
                var unknown: [Identity] = []
                for identity in identities {
                    if try await !store.revokeTokens(of: identity) { unknown.append(identity) }
                }
                return unknown
            }
            for identity in identities where !unknown.contains(identity) {
                remark("every token of \(identity.title) is revoked")
            }
            guard let identity = unknown.first else { return }
            throw complaint(
                "there is no \(identity.title) in \(data.directory), so nothing of it was revoked; \(identity.advice)",
                1)
        }
    }
}

/// Whose token: nodes' or an operator's.
struct OwnerOption: ParsableArguments {
    @Option(
        parsing: .singleValue,
        help: ArgumentHelp("The node; may be given again.", valueName: "name"))
    var node: [String] = []

    @Option(help: ArgumentHelp("The person or program that sends requests.", valueName: "name"))
    var `operator`: String?

    /// - Parameter file: names further nodes, so that none has to be given here.
    func identities(besides file: String? = nil) throws -> [Identity] {
        let advice = "names have 1 to 64 letters, digits, '.', '_' and '-'."
        guard let text = `operator` else {
            guard !node.isEmpty || file != nil else {
                throw ValidationError("Give either --node NAME or --operator NAME.")
            }
            return try node.map { text in
                guard let name = NodeName(rawValue: text) else {
                    throw ValidationError("'\(text)' is not a name of a node: \(advice)")
                }
                return .node(name)
            }
        }
        guard node.isEmpty, file == nil else {
            throw ValidationError("Give either --node NAME or --operator NAME.")
        }
        guard let name = OperatorName(rawValue: text) else {
            throw ValidationError("'\(text)' is not a name of an operator: \(advice)")
        }
        return [.operator(name)]
    }
}

extension Identity {
    fileprivate var name: String {
        switch self {
        case .node(let name): name.rawValue
        case .operator(let name): name.rawValue
        }
    }

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
