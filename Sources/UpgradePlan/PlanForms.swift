// SPDX-License-Identifier: Apache-2.0

import Documents
import UpgradeModel

extension DocumentKey.Kind {
    static func names(atMost maximum: Int) -> DocumentKey.Kind {
        .list(of: .name, .init("list of names", maximum: maximum))
    }

    static let phases = DocumentKey.Kind.list(
        of: .word(Phase.allCases.map(\.rawValue)),
        .init("list of phases", maximum: Phase.allCases.count))

    static let sizes = DocumentKey.Kind.list(
        of: .form(.size),
        .init(
            "number of nodes, percentage, or a list of them", maximum: 100, mayRepeat: true,
            single: "write at least one size, such as `[1, 5, 20%]`; the last one repeats"))
}

extension DocumentKey.Form {
    /// The wrong text is never repeated: it is where a URL with a password ends up.
    static let environment = DocumentKey.Form("env:NAME") { text in
        guard EnvironmentReference(text: text) == nil else { return nil }
        return Mismatch(
            code: "type",
            message: "expected the name of an environment variable of the coordinator",
            advice: "put the value into a variable and write `env:NAME`, as in `env:DATABASE_URL`")
    }

    /// The name of a role or a schema of PostgreSQL, as it is in the catalog: without quotes, in its own case.
    static let role = DocumentKey.Form("name in the database") { text in
        guard text.utf8.count <= 63, !text.contains("\""),
            !text.unicodeScalars.contains(where: {
                $0.value < 0x20 || (0x7F...0x9F).contains($0.value)
            })
        else {
            return Mismatch(
                code: "name", message: "\(quoted(text)) is not the name of a role or schema",
                advice: "write it as the database's catalog has it: at most 63 bytes, no quotes")
        }
        return nil
    }

    /// The name of a cookie or a header: a token of RFC 9110.
    static let token = DocumentKey.Form("name of a cookie or a header") { text in
        let isToken = text.utf8.allSatisfy { byte in
            (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
                || "!#$%&'*+-.^_`|~".utf8.contains(byte)
        }
        guard isToken, !text.isEmpty, text.utf8.count <= 100 else {
            return Mismatch(
                code: "name", message: "\(quoted(text)) is not the name of a cookie or a header",
                advice: "write it alone, such as `sessionid`, without its value")
        }
        return nil
    }

    static let logSize = DocumentKey.Form(
        "size from \(ByteCount.text(Limits.standbyLog.lowerBound)) to \(ByteCount.text(Limits.standbyLog.upperBound))"
    ) { text in
        guard let bytes = ByteCount.read(text) else {
            return .wrongType("a size", text, advice: "write a whole number and its unit: `10GB`")
        }
        let range = Limits.standbyLog
        return range.contains(bytes)
            ? nil
            : Mismatch(
                code: "range", message: "\(quoted(text)) is out of range",
                advice:
                    "write \(ByteCount.text(range.lowerBound)) to \(ByteCount.text(range.upperBound))"
            )
    }

    static let pace = DocumentKey.Form("measured, or a number of requests a second") { text in
        if text == "measured" { return nil }
        guard let number = wholeNumber(text) else {
            return .wrongType(
                "`measured` or a number", text, advice: "write `measured`, or such as `50`")
        }
        return Limits.pace.contains(number)
            ? nil
            : Mismatch(
                code: "range", message: "\(quoted(text)) is out of range",
                advice: "write 1 to \(Limits.pace.upperBound)")
    }

    static let size = DocumentKey.Form("number of nodes, or percentage") { text in
        if case .failure(let mismatch) = BatchSize.read(text) { mismatch } else { nil }
    }
}

extension BatchSize {
    /// Reads `5` or `25%`.
    static func read(_ text: String) -> Result<BatchSize, Mismatch> {
        let isShare = text.hasSuffix("%")
        guard let number = wholeNumber(isShare ? String(text.dropLast()) : text) else {
            return .failure(
                .wrongType(
                    "a number of nodes or a percentage", text, advice: "write such as `5` or `25%`")
            )
        }
        let size: BatchSize = isShare ? .percent(number) : .nodes(number)
        guard size.isValid else {
            let range = isShare ? "1% to 100%" : "1 to \(Limits.nodes.upperBound)"
            return .failure(
                Mismatch(
                    code: "range", message: "\(quoted(text)) is out of range",
                    advice: "write \(range)"))
        }
        return .success(size)
    }
}

extension DocumentValues {
    func size(_ path: String) -> BatchSize? { text(path).flatMap(BatchSize.init) }

    func sizes(_ path: String) -> [BatchSize]? {
        list(path)?.compactMap { BatchSize($0.text) }
    }
}

extension BatchSize {
    fileprivate init?(_ text: String) {
        guard case .success(let size) = BatchSize.read(text) else { return nil }
        self = size
    }
}
